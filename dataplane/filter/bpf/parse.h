// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_PARSE_H
#define WLBS_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "types.h"

#define IP_MORE_OFFSET 0x1fff
#define IPV6_MORE_OFFSET 0xfff8
#define IPV6_EXTENSIONS_MAX 6
#define OFFSET_MAX 0x7fff /* of the transport header; the verifier wants a bound */
#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_DESTINATION 60

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_QUENCH 4
#define ICMP_REDIRECTED 5
#define ICMP_EXCEEDED 11
#define ICMP_PARAMETER 12
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_LAST_ND 137

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* How the owner of a packet is found. */
enum kind {
	KIND_INVALID,	 /* no host may have it */
	KIND_TCP,	 /* by the slot of its port */
	KIND_UDP,	 /* by the slot of its port */
	KIND_FRAGMENT,	 /* no ports: by address, where one slot covers all ports */
	KIND_ADDRESS,	 /* by address in the default slot: echo, protocols without ports */
	KIND_EVERYWHERE, /* concerns a flow that only one host has, and we cannot tell which */
};

/* What the hook handed us. is_xdp is a constant in each program. */
struct frame {
	void *ctx;
	void *data;
	void *end;
	bool is_xdp;
};

/* client is the source of what comes in, the destination of what goes out. Addresses are
 * two u64 in memory order, IPv4 in mapped form. */
struct packet {
	__u64 src_hi, src_lo, dst_hi, dst_lo;
	__be16 src_port, dst_port;
	__u8 protocol; /* enum protocol; PROTOCOLS where neither TCP nor UDP */
	__u8 kind;
	__u8 tcp_flags;
	bool v6;
	__u32 cluster; /* whose virtual IP it is for or from */
	__u32 slot;    /* whose rule decided; set by judge */
};

static __always_inline __u64 mapped_lo(__be32 address)
{
	return (__u64)address << 32 | 0xffff0000;
}

static __always_inline bool is_mapped(__u64 hi, __u64 lo)
{
	return hi == 0 && (__u32)lo == 0xffff0000;
}

/* The frame's length beyond the Ethernet header. The linear part answers nearly always;
 * only a frame in several buffers costs a helper call. */
static __always_inline bool is_truncated(const struct frame *f, __u32 need)
{
	if (need <= f->end - f->data - ETH_HLEN)
		return false;
	if (f->is_xdp)
		return need + ETH_HLEN > bpf_xdp_get_buff_len(f->ctx);
	return need + ETH_HLEN > ((struct __sk_buff *)f->ctx)->len;
}

/* GRO may merge segments to more than a length field can hold (BIG TCP): it is 0 then. */
static __always_inline bool is_big(const struct frame *f)
{
	return !f->is_xdp && ((struct __sk_buff *)f->ctx)->len > 0xffff;
}

static __always_inline bool parse_addresses(const struct frame *f, struct packet *p)
{
	struct ethhdr *eth = f->data;

	if ((void *)(eth + 1) > f->end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > f->end)
			return false;
		p->v6 = false;
		p->src_hi = 0;
		p->dst_hi = 0;
		p->src_lo = mapped_lo(ip->saddr);
		p->dst_lo = mapped_lo(ip->daddr);
		return true;
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);
		__u64 *src = (void *)&ip->saddr, *dst = (void *)&ip->daddr;

		if ((void *)(ip + 1) > f->end)
			return false;
		p->v6 = true;
		p->src_hi = src[0];
		p->src_lo = src[1];
		p->dst_hi = dst[0];
		p->dst_lo = dst[1];
		return true;
	}
	return false;
}

/* Sources that no answer can reach. KB Q244084: 0.0.0.0 stopped the NT driver. A source
 * equal to the virtual IP is the LAND attack. */
static __always_inline bool is_bad_source(const struct packet *p)
{
	if (p->src_lo == p->dst_lo && p->src_hi == p->dst_hi)
		return true;
	if (!p->v6) {
		__u8 first = p->src_lo >> 32;

		return first == 0 || first == 127 || (first & 0xf0) == 224 || (__u32)(p->src_lo >> 32) == 0xffffffff;
	}
	if ((p->src_hi & 0xff) == 0xff)
		return true;
	return p->src_hi == 0 && (p->src_lo == 0 || p->src_lo == 1ULL << 56 || is_mapped(0, p->src_lo));
}

static __always_inline enum kind parse_tcp(const struct frame *f, struct packet *p, void *l4, __u32 length)
{
	struct tcphdr *tcp = l4;
	__u8 flags;

	if ((void *)(tcp + 1) > f->end || tcp->doff < 5 || tcp->doff * 4 > length)
		return KIND_INVALID;
	flags = ((__u8 *)tcp)[13];
	if (!(flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST)))
		return KIND_INVALID;
	if ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST)))
		return KIND_INVALID;
	p->tcp_flags = flags;
	p->src_port = tcp->source;
	p->dst_port = tcp->dest;
	return KIND_TCP;
}

static __always_inline enum kind parse_udp(const struct frame *f, struct packet *p, void *l4, __u32 length)
{
	struct udphdr *udp = l4;

	if ((void *)(udp + 1) > f->end || length < sizeof(*udp))
		return KIND_INVALID;
	p->src_port = udp->source;
	p->dst_port = udp->dest;
	return KIND_UDP;
}

/* Errors and answers concern something one host sent: every host takes them, the others'
 * kernels find no socket and drop them. */
static __always_inline enum kind parse_icmp(const struct frame *f, void *l4, __u32 length, bool v6)
{
	__u8 *type = l4;

	if (l4 + 8 > f->end || length < 8)
		return KIND_INVALID;
	if (v6)
		return *type == ICMPV6_ECHO_REQUEST || *type > ICMPV6_LAST_ND ? KIND_ADDRESS : KIND_EVERYWHERE;
	switch (*type) {
	case ICMP_ECHO_REPLY:
	case ICMP_UNREACHABLE:
	case ICMP_QUENCH:
	case ICMP_REDIRECTED:
	case ICMP_EXCEEDED:
	case ICMP_PARAMETER:
		return KIND_EVERYWHERE;
	}
	return KIND_ADDRESS;
}

static __always_inline enum protocol protocol_of(__u8 next)
{
	return next == IPPROTO_TCP ? PROTOCOL_TCP : next == IPPROTO_UDP ? PROTOCOL_UDP : PROTOCOLS;
}

static __always_inline enum kind parse_l4(const struct frame *f, struct packet *p, void *l4, __u32 length, __u8 next)
{
	if (next == IPPROTO_TCP)
		return parse_tcp(f, p, l4, length);
	if (next == IPPROTO_UDP)
		return parse_udp(f, p, l4, length);
	if (next == IPPROTO_ICMP && !p->v6)
		return parse_icmp(f, l4, length, false);
	if (next == IPPROTO_ICMPV6 && p->v6)
		return parse_icmp(f, l4, length, true);
	return KIND_ADDRESS;
}

/* Where the transport header is, and how long it and all behind it. */
struct transport {
	__u32 offset; /* from the IP header */
	__u32 length;
	__u8 protocol;
	bool later_fragment;
	__u16 pad;
};

static __always_inline bool parse_v4(const struct frame *f, struct transport *t)
{
	struct iphdr *ip = f->data + ETH_HLEN;
	__u32 length;

	if ((void *)(ip + 1) > f->end)
		return false;
	t->offset = ip->ihl * 4;
	length = bpf_ntohs(ip->tot_len);
	if (length == 0) {
		if (!is_big(f))
			return false;
		length = 0xffff;
	}
	if (ip->version != 4 || t->offset < sizeof(*ip) || length < t->offset || is_truncated(f, length))
		return false;
	t->length = length - t->offset;
	t->protocol = ip->protocol;
	t->later_fragment = ip->frag_off & bpf_htons(IP_MORE_OFFSET);
	return true;
}

static __always_inline bool is_extension(__u8 next)
{
	return next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_FRAGMENT || next == NEXT_DESTINATION ||
	       next == IPPROTO_AH;
}

/* Extension headers are rare, and a loop over them in line made up nine tenths of what the
 * verifier had to look at. So each hook has a function of its own, verified once, which
 * loads bytes instead of proving bounds. It leaves in t what the last header names. */
static __always_inline bool skip_extensions(struct frame *f, struct transport *t, __u32 end)
{
	__u8 ext[4];
	int i;

	for (i = 0; i < IPV6_EXTENSIONS_MAX && is_extension(t->protocol); i++) {
		__u32 at = ETH_HLEN + t->offset;

		if (t->offset + 8 > end)
			return false;
		if (f->is_xdp ? bpf_xdp_load_bytes(f->ctx, at, ext, sizeof(ext)) :
				bpf_skb_load_bytes(f->ctx, at, ext, sizeof(ext)))
			return false;
		if (t->protocol == NEXT_FRAGMENT) {
			t->later_fragment = *(__be16 *)(ext + 2) & bpf_htons(IPV6_MORE_OFFSET);
			t->offset += 8;
		} else if (t->protocol == IPPROTO_AH) {
			t->offset += (ext[1] + 2) * 4; /* in words, less 2 */
		} else {
			t->offset += (ext[1] + 1) * 8;
		}
		t->protocol = ext[0];
		if (t->later_fragment)
			return true;
		if (t->offset > end)
			return false;
	}
	return !is_extension(t->protocol);
}

__attribute__((noinline)) int skip_extensions_xdp(struct xdp_md *ctx, struct transport *t, __u32 end)
{
	struct frame f = { .ctx = ctx, .is_xdp = true };

	return t && skip_extensions(&f, t, end);
}

__attribute__((noinline)) int skip_extensions_skb(struct __sk_buff *ctx, struct transport *t, __u32 end)
{
	struct frame f = { .ctx = ctx, .is_xdp = false };

	return t && skip_extensions(&f, t, end);
}

static __always_inline bool parse_v6(const struct frame *f, struct packet *p, struct transport *t)
{
	struct ipv6hdr *ip = f->data + ETH_HLEN;
	__u32 end;

	if ((void *)(ip + 1) > f->end)
		return false;
	end = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	if (ip->payload_len == 0 && is_big(f))
		end = 0xffff;
	/* A mapped address on the wire would pass for IPv4. */
	if (ip->version != 6 || is_truncated(f, end) || is_mapped(p->dst_hi, p->dst_lo))
		return false;
	t->offset = sizeof(*ip);
	t->protocol = ip->nexthdr;
	t->later_fragment = false;
	if (is_extension(t->protocol) &&
	    !(f->is_xdp ? skip_extensions_xdp(f->ctx, t, end) : skip_extensions_skb(f->ctx, t, end)))
		return false;
	t->length = end - t->offset;
	return true;
}

/* parse reads what is beyond the addresses, of a frame for a virtual IP. */
static __always_inline void parse(const struct frame *f, struct packet *p)
{
	struct transport t = {};

	p->kind = KIND_INVALID;
	if (is_bad_source(p))
		return;
	if (!(p->v6 ? parse_v6(f, p, &t) : parse_v4(f, &t)) || t.offset > OFFSET_MAX)
		return;
	p->protocol = protocol_of(t.protocol);
	if (t.later_fragment)
		p->kind = KIND_FRAGMENT;
	else
		p->kind = parse_l4(f, p, f->data + ETH_HLEN + t.offset, t.length, t.protocol);
}

#endif
