//go:build ignore

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/* One filter for three hooks. Which bucket a client is in, and who may have it, is decided
 * in verdict.h; this file says what each hook does with the answer. */

#include <stddef.h>
#include <stdbool.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "tcx.h"
#include "types.h"
#include "config.h"
#include "maps.h"
#include "count.h"
#include "hash.h"
#include "parse.h"
#include "policy.h"
#include "track.h"
#include "sticky.h"
#include "verdict.h"
#include "arp.h"
#include "nd.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool is_heartbeat(const struct frame *f)
{
	struct ethhdr *eth = f->data;

	return (void *)(eth + 1) <= f->end && eth->h_proto == bpf_htons(ETH_P_HEARTBEAT);
}

SEC("xdp.frags")
int wlbs_xdp(struct xdp_md *ctx)
{
	struct frame f = { ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end, true };
	struct packet p = {};
	enum counter verdict;
	struct target t;

	if (!parse_addresses(&f, &p)) {
		if (is_heartbeat(&f))
			count_heartbeat();
		return XDP_PASS;
	}
	if (!find_vip(&t, p.dst_hi, p.dst_lo))
		return XDP_PASS;
	p.cluster = t.cluster;
	parse(&f, &p);
	verdict = judge(&t, &p);
	if (verdict != COUNTER_ADMITTED) {
		count_dropped(verdict, &p, 1);
		return XDP_DROP;
	}
	count_admitted(ctx->rx_queue_index, &p, 1);
	return XDP_PASS;
}

/* Frames that GRO or GSO keep together count as what they are on the wire. */
static __always_inline __u32 segments(const struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

/* The stack notes the receive queue plus one. */
static __always_inline __u32 rx_queue(const struct __sk_buff *skb)
{
	return skb->queue_mapping ? skb->queue_mapping - 1 : 0;
}

/* A frame has its headers in the first 54 octets (IPv4) or 74 (IPv6), or has more. */
#define HEADERS_MAX 256

static __always_inline bool has_more_headers(const struct frame *f)
{
	struct ethhdr *eth = f->data;
	struct iphdr *v4 = (void *)(eth + 1);
	struct ipv6hdr *v6 = (void *)(eth + 1);

	if ((void *)(v4 + 1) + sizeof(struct tcphdr) > f->end)
		return true;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return v4->ihl > 5;
	if (eth->h_proto != bpf_htons(ETH_P_IPV6))
		return false;
	return (void *)(v6 + 1) + sizeof(struct tcphdr) > f->end || is_extension(v6->nexthdr) ||
	       v6->nexthdr == IPPROTO_ICMPV6;
}

static __always_inline struct frame frame_of(struct __sk_buff *skb)
{
	return (struct frame){ skb, (void *)(long)skb->data, (void *)(long)skb->data_end, false };
}

/* Headers may be outside of the linear part. Pulling them in copies the skb's head if it
 * is a clone, so it has to be rare: TCP leaves its headers, and no more, in the linear part. */
static __always_inline struct frame linear_frame(struct __sk_buff *skb)
{
	struct frame f = frame_of(skb);
	__u32 linear = f.end - f.data;

	if (linear < skb->len && linear < HEADERS_MAX && has_more_headers(&f)) {
		bpf_skb_pull_data(skb, skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX);
		f = frame_of(skb);
	}
	return f;
}

/* deliver hands an admitted frame to the stack. It was sent to the cluster MAC, so its
 * pkt_type is MULTICAST or OTHERHOST, of which tcp_v4_rcv takes none and says nothing. */
static __always_inline int deliver(struct __sk_buff *skb, const struct target *t, const struct packet *p)
{
	if (p->kind == KIND_UDP)
		note_client(find_slot(t->policy, t->vip, PROTOCOL_UDP, p->dst_port), p);
	else if (p->kind == KIND_TCP && track_client(p))
		note_client(find_slot(t->policy, t->vip, PROTOCOL_TCP, p->dst_port), p);
	count_delivered(t->cluster, rx_queue(skb), segments(skb));
	if (skb->pkt_type != 0 /* PACKET_HOST */)
		bpf_skb_change_type(skb, 0);
	return TCX_NEXT;
}

static __always_inline int ingress_ip(struct __sk_buff *skb, const struct frame *f)
{
	struct packet p = {};
	enum counter verdict;
	struct target t;

	if (!parse_addresses(f, &p) || !find_vip(&t, p.dst_hi, p.dst_lo))
		return TCX_NEXT;
	p.cluster = t.cluster;
	parse(f, &p);
	if (filter_at_ingress) {
		verdict = judge(&t, &p);
		if (verdict != COUNTER_ADMITTED) {
			count_dropped(verdict, &p, segments(skb));
			return TCX_DROP;
		}
		count_admitted(rx_queue(skb), &p, segments(skb));
	}
	return deliver(skb, &t, &p);
}

/* A neighbour that checks whether it still reaches the virtual IP asks it, not its group
 * (RFC 4861, 7.3.3). The XDP program admits that like all that is sent to it; that it goes
 * no further than here must not pass for a queue that loses what was admitted. */
static __always_inline void deliver_nd(struct __sk_buff *skb, const struct frame *f)
{
	struct ipv6hdr *ip = f->data + ETH_HLEN;
	struct target t;

	/* parse_nd has seen the whole header. To ask again confuses the verifier. */
	if (!filter_at_ingress && find_vip_v6(&t, (__u32 *)&ip->daddr))
		count_delivered(t.cluster, rx_queue(skb), 1);
}

static __always_inline int ingress_ipv6(struct __sk_buff *skb, const struct frame *f)
{
	struct nd_message *nd = parse_nd(f);
	struct target t;

	if (!speaks_of_vip(nd, &t))
		return ingress_ip(skb, f);
	deliver_nd(skb, f);
	if (nd->type == ND_SOLICIT)
		return ingress_solicitation(skb, f, nd, &t);
	ingress_advertisement(f, nd, &t);
	return TCX_NEXT;
}

SEC("tcx/ingress")
int wlbs_ingress(struct __sk_buff *skb)
{
	struct frame f;

	if (skb->vlan_present)
		return TCX_NEXT; /* another network */
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		f = linear_frame(skb);
		return ingress_ip(skb, &f);
	case bpf_htons(ETH_P_IPV6):
		f = linear_frame(skb);
		return ingress_ipv6(skb, &f);
	case bpf_htons(ETH_P_ARP):
		f = linear_frame(skb);
		return ingress_arp(skb, &f);
	case bpf_htons(ETH_P_HEARTBEAT):
		if (filter_at_ingress)
			count_heartbeat();
	}
	return TCX_NEXT;
}

/* egress_ip reports whether the frame may leave. */
static __always_inline bool egress_ip(struct __sk_buff *skb, const struct frame *f)
{
	struct packet p = {};
	struct target t;

	if (!parse_addresses(f, &p) || !find_vip(&t, p.src_hi, p.src_lo))
		return true;
	p.cluster = t.cluster;
	count_n(t.cluster, COUNTER_ANSWERED, segments(skb));
	parse(f, &p);
	if (p.kind != KIND_TCP)
		return true;
	if ((p.tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		count(t.cluster, COUNTER_SYN_ACK);
	if (p.tcp_flags & TCP_RST)
		count(t.cluster, COUNTER_RST);
	return track_server(&p);
}

SEC("tcx/egress")
int wlbs_egress(struct __sk_buff *skb)
{
	struct ethhdr *eth;
	struct frame f;

	if (skb->vlan_present)
		return TCX_NEXT;
	f = linear_frame(skb);
	eth = f.data;
	if ((void *)(eth + 1) > f.end)
		return TCX_NEXT;
	if (is_cluster_mac(eth->h_source)) {
		count_source_blocked();
		return TCX_DROP;
	}
	switch (eth->h_proto) {
	case bpf_htons(ETH_P_ARP):
		return egress_arp(skb, &f);
	case bpf_htons(ETH_P_IP):
		return egress_ip(skb, &f) ? TCX_NEXT : TCX_DROP;
	case bpf_htons(ETH_P_IPV6):
		return egress_ip(skb, &f) ? egress_nd(skb, &f) : TCX_DROP;
	}
	return TCX_NEXT;
}

/* Tells the agent the jiffies of now, in which it has to write the lease. */
SEC("syscall")
int wlbs_clock(struct clock *clock)
{
	clock->jiffies = bpf_jiffies64();
	return 0;
}
