// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_ND_H
#define WLBS_ND_H

#include <linux/icmpv6.h>
#include <linux/pkt_cls.h>
#include "arp.h"

#define ND_SOLICIT 135
#define ND_ADVERTISE 136
#define ND_HOP_LIMIT 255
#define ND_OPTION_SOURCE 1
#define ND_OPTION_TARGET 2
#define ND_FLAG_SOLICITED 0x40
#define ND_FLAG_OVERRIDE 0x20

struct nd_option {
	__u8 type;
	__u8 length; /* in units of 8 octets */
	__u8 mac[ETH_ALEN];
};

/* A solicitation or advertisement with the one option we care for (RFC 4861, 4.3, 4.4). */
struct nd_message {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__u8 flags;
	__u8 reserved[3];
	__u32 target[4];
	struct nd_option option;
};

struct nd_pseudo {
	__u32 src[4];
	__u32 dst[4];
	__be32 length;
	__be32 next;
};

#define ND_BARE_LEN (sizeof(struct nd_message) - sizeof(struct nd_option))
#define ND_FRAME_LEN (ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct nd_message))

static __always_inline bool find_vip_v6(struct target *t, const __u32 *address)
{
	__u64 hi = address[0] | (__u64)address[1] << 32;
	__u64 lo = address[2] | (__u64)address[3] << 32;

	return !is_mapped(hi, lo) && find_vip(t, hi, lo);
}

/* parse_nd returns a message of which everything but the option is in bounds. */
static __always_inline struct nd_message *parse_nd(const struct frame *f)
{
	struct ipv6hdr *ip = f->data + ETH_HLEN;
	struct nd_message *nd = (void *)(ip + 1);

	if ((void *)nd + ND_BARE_LEN > f->end || ip->nexthdr != IPPROTO_ICMPV6 || ip->hop_limit != ND_HOP_LIMIT)
		return NULL;
	if ((nd->type != ND_SOLICIT && nd->type != ND_ADVERTISE) || nd->code != 0 ||
	    bpf_ntohs(ip->payload_len) < ND_BARE_LEN)
		return NULL;
	return nd;
}

static __always_inline bool has_option(const struct frame *f, const struct nd_message *nd, __u8 type)
{
	return (void *)(nd + 1) <= f->end && nd->option.type == type && nd->option.length == 1;
}

static __always_inline __sum16 fold(__s64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The advertisement takes the solicitation's place in the same buffer, which may lack
 * room for the option: then the tail grows. */
static __always_inline int answer_nd(struct __sk_buff *skb, const struct frame *f, struct nd_message *nd,
				     const struct target *t)
{
	struct nd_message answer = { .type = ND_ADVERTISE, .flags = ND_FLAG_SOLICITED | ND_FLAG_OVERRIDE };
	struct ipv6hdr *ip = f->data + ETH_HLEN;
	struct nd_pseudo pseudo = { .length = bpf_htonl(sizeof(answer)), .next = bpf_htonl(IPPROTO_ICMPV6) };
	struct ethhdr eth;

	copy_mac(eth.h_dest, ((struct ethhdr *)f->data)->h_source);
	store_mac(eth.h_source, host_mac());
	eth.h_proto = bpf_htons(ETH_P_IPV6);
	__builtin_memcpy(answer.target, nd->target, sizeof(answer.target));
	__builtin_memcpy(pseudo.src, nd->target, sizeof(pseudo.src));
	__builtin_memcpy(pseudo.dst, &ip->saddr, sizeof(pseudo.dst));
	if (has_option(f, nd, ND_OPTION_SOURCE))
		copy_mac(eth.h_dest, nd->option.mac);
	if (!(pseudo.dst[0] | pseudo.dst[1] | pseudo.dst[2] | pseudo.dst[3])) {
		/* Duplicate address detection: the answer goes to all nodes (RFC 4861, 7.2.4). */
		answer.flags = ND_FLAG_OVERRIDE;
		pseudo.dst[0] = bpf_htonl(0xff020000);
		pseudo.dst[3] = bpf_htonl(1);
		__builtin_memcpy(eth.h_dest, "\x33\x33\x00\x00\x00\x01", ETH_ALEN);
	}
	answer.option.type = ND_OPTION_TARGET;
	answer.option.length = 1;
	store_mac(answer.option.mac, t->state->header.cluster_mac);
	answer.checksum = fold(bpf_csum_diff(NULL, 0, (__be32 *)&answer, sizeof(answer),
					     bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0)));

	if (bpf_skb_change_tail(skb, ND_FRAME_LEN, 0))
		return TCX_DROP;
	bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
	bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len), (__u8 *)&pseudo.length + 2, 2, 0);
	bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), &pseudo, 32, 0);
	bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &answer, sizeof(answer), BPF_F_INVALIDATE_HASH);
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline bool speaks_of_vip(const struct nd_message *nd, struct target *t)
{
	return nd && find_vip_v6(t, nd->target);
}

static __always_inline int ingress_solicitation(struct __sk_buff *skb, const struct frame *f, struct nd_message *nd,
						const struct target *t)
{
	count(t->cluster, COUNTER_RESOLUTION_ASKED);
	if (!lease_runs(t->state))
		return TCX_DROP;
	return answer_nd(skb, f, nd, t);
}

static __always_inline void ingress_advertisement(const struct frame *f, const struct nd_message *nd,
						  const struct target *t)
{
	if (has_option(f, nd, ND_OPTION_TARGET) && load_mac(nd->option.mac) != t->state->header.cluster_mac)
		count(t->cluster, COUNTER_RESOLUTION_CONFLICT);
}

/* The option of a solicitation tells the sender's MAC, that of an advertisement the
 * target's: both carry the cluster MAC where they speak of a virtual IP. */
static __always_inline int egress_nd(struct __sk_buff *skb, const struct frame *f)
{
	struct nd_message *nd = parse_nd(f);
	struct ipv6hdr *ip = f->data + ETH_HLEN;
	const __u32 offset = ETH_HLEN + sizeof(struct ipv6hdr);
	struct nd_option fixed;
	struct target t;
	mac_t mac;
	__s64 diff;
	bool answer;

	if (!nd || (void *)(nd + 1) > f->end)
		return TCX_NEXT;
	answer = nd->type == ND_ADVERTISE;
	if (!find_vip_v6(&t, answer ? nd->target : (__u32 *)&ip->saddr))
		return TCX_NEXT;
	if (answer && (nd->flags & ND_FLAG_SOLICITED))
		count(t.cluster, COUNTER_RESOLUTION_ANSWERED);
	mac = t.state->header.cluster_mac;
	if (!has_option(f, nd, answer ? ND_OPTION_TARGET : ND_OPTION_SOURCE) || load_mac(nd->option.mac) == mac)
		return TCX_NEXT;
	fixed.type = nd->option.type;
	fixed.length = 1;
	store_mac(fixed.mac, mac);
	diff = bpf_csum_diff((__be32 *)&nd->option, sizeof(fixed), (__be32 *)&fixed, sizeof(fixed), 0);
	if (bpf_l4_csum_replace(skb, offset + offsetof(struct nd_message, checksum), 0, diff, 0) ||
	    bpf_skb_store_bytes(skb, offset + offsetof(struct nd_message, option), &fixed, sizeof(fixed), 0))
		return TCX_DROP;
	count(t.cluster, COUNTER_SENDER_REWRITTEN);
	return TCX_NEXT;
}

#endif
