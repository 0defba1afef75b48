// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_ARP_H
#define WLBS_ARP_H

#include <linux/pkt_cls.h>
#include "config.h"
#include "count.h"
#include "policy.h"

/* <linux/if_arp.h> needs the C library. */
#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

struct arp_ipv4 {
	__be16 hardware;
	__be16 network;
	__u8 hardware_len;
	__u8 network_len;
	__be16 op;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_ip[4];
} __attribute__((packed));

static __always_inline void copy_mac(void *to, const void *from)
{
	__builtin_memcpy(to, from, ETH_ALEN);
}

static __always_inline mac_t load_mac(const __u8 *from)
{
	__u32 first;
	__u16 last;

	__builtin_memcpy(&first, from, sizeof(first));
	__builtin_memcpy(&last, from + sizeof(first), sizeof(last));
	return first | (mac_t)last << 32;
}

static __always_inline void store_mac(__u8 *to, mac_t mac)
{
	__builtin_memcpy(to, &mac, ETH_ALEN);
}

static __always_inline mac_t host_mac(void)
{
	return *(volatile mac_t *)&globals.host_mac;
}

/* Nearly every frame has the host's own MAC, which costs no helper call. */
static __always_inline bool is_cluster_mac(const __u8 *mac)
{
	mac_t key = load_mac(mac);

	return key != host_mac() && bpf_map_lookup_elem(&cluster_macs, &key);
}

static __always_inline bool find_vip_v4(struct target *t, const __u8 *address)
{
	__be32 value;

	__builtin_memcpy(&value, address, sizeof(value));
	return find_vip(t, 0, mapped_lo(value));
}

static __always_inline bool ipv4_arp(const struct arp_ipv4 *arp)
{
	return arp->hardware == bpf_htons(ARPHRD_ETHER) && arp->network == bpf_htons(ETH_P_IP) &&
	       arp->hardware_len == ETH_ALEN && arp->network_len == 4;
}

static __always_inline struct arp_ipv4 *parse_arp(const struct frame *f)
{
	struct arp_ipv4 *arp = f->data + ETH_HLEN;

	return (void *)(arp + 1) <= f->end && ipv4_arp(arp) ? arp : NULL;
}

/* Every host gives the same answer. The Ethernet source is the NIC's own address: a
 * switch that learned the cluster MAC would send all traffic to one port (KB Q193602).
 *
 * Bytes are stored by the helper: a program that writes to the packet itself gets every
 * cloned skb copied before it runs, and on the way out all of TCP's are clones. */
static __always_inline int answer_arp(struct __sk_buff *skb, const struct arp_ipv4 *arp, const struct target *t)
{
	struct {
		struct ethhdr eth;
		struct arp_ipv4 arp;
	} __attribute__((packed)) answer;

	copy_mac(answer.eth.h_dest, arp->sender_mac);
	store_mac(answer.eth.h_source, host_mac());
	answer.eth.h_proto = bpf_htons(ETH_P_ARP);
	answer.arp = *arp;
	answer.arp.op = bpf_htons(ARPOP_REPLY);
	store_mac(answer.arp.sender_mac, t->state->header.cluster_mac);
	__builtin_memcpy(answer.arp.sender_ip, arp->target_ip, sizeof(arp->target_ip));
	copy_mac(answer.arp.target_mac, arp->sender_mac);
	__builtin_memcpy(answer.arp.target_ip, arp->sender_ip, sizeof(arp->sender_ip));
	if (bpf_skb_store_bytes(skb, 0, &answer, sizeof(answer), 0))
		return TCX_DROP;
	/* XDP_TX is no alternative: veth drops it unless its peer runs NAPI with XDP room. */
	return bpf_redirect(skb->ifindex, 0);
}

/* The kernel never sees a request for a virtual IP: it would answer with the NIC's MAC. */
static __always_inline int ingress_arp(struct __sk_buff *skb, const struct frame *f)
{
	struct arp_ipv4 *arp = parse_arp(f);
	struct target t;

	if (!arp)
		return TCX_NEXT;
	if (find_vip_v4(&t, arp->sender_ip) && load_mac(arp->sender_mac) != t.state->header.cluster_mac)
		count(t.cluster, COUNTER_RESOLUTION_CONFLICT);
	if (arp->op != bpf_htons(ARPOP_REQUEST) || !find_vip_v4(&t, arp->target_ip)) {
		/* The answer to a request of ours, which egress_arp rewrote: OTHERHOST in
		 * Unicast mode, and arp_rcv throws it away. */
		if (is_cluster_mac(((struct ethhdr *)f->data)->h_dest))
			bpf_skb_change_type(skb, 0 /* PACKET_HOST */);
		return TCX_NEXT;
	}
	if (__builtin_memcmp(arp->sender_ip, arp->target_ip, 4) == 0)
		return TCX_DROP; /* an announcement */
	count(t.cluster, COUNTER_RESOLUTION_ASKED);
	if (!lease_runs(t.state))
		return TCX_DROP;
	return answer_arp(skb, arp, &t);
}

/* With the virtual IP on lo, the kernel may use it as the sender of its own requests. The
 * neighbour would learn this host's MAC for it and send it all traffic. */
static __always_inline int egress_arp(struct __sk_buff *skb, const struct frame *f)
{
	struct arp_ipv4 *arp = parse_arp(f);
	struct target t;
	mac_t mac;

	if (!arp || !find_vip_v4(&t, arp->sender_ip))
		return TCX_NEXT;
	if (arp->op == bpf_htons(ARPOP_REPLY))
		count(t.cluster, COUNTER_RESOLUTION_ANSWERED);
	mac = t.state->header.cluster_mac;
	if (load_mac(arp->sender_mac) == mac)
		return TCX_NEXT;
	if (bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct arp_ipv4, sender_mac), &mac, ETH_ALEN, 0))
		return TCX_DROP;
	count(t.cluster, COUNTER_SENDER_REWRITTEN);
	return TCX_NEXT;
}

#endif
