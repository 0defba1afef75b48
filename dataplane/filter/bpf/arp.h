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

static __always_inline void copy_const_mac(__u8 *to, const volatile __u8 *from)
{
	int i;

	for (i = 0; i < ETH_ALEN; i++)
		to[i] = from[i];
}

static __always_inline bool is_cluster_mac(const __u8 *mac)
{
	__u8 differ = 0;
	int i;

	for (i = 0; i < ETH_ALEN; i++)
		differ |= mac[i] ^ cluster_mac[i];
	return !differ;
}

static __always_inline bool is_vip_v4(struct policy *policy, const __u8 *address)
{
	__be32 value;

	__builtin_memcpy(&value, address, sizeof(value));
	return find_vip(policy, 0, mapped_lo(value)) != NULL;
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
static __always_inline int answer_arp(struct __sk_buff *skb, const struct arp_ipv4 *arp)
{
	struct {
		struct ethhdr eth;
		struct arp_ipv4 arp;
	} __attribute__((packed)) answer;

	copy_mac(answer.eth.h_dest, arp->sender_mac);
	copy_const_mac(answer.eth.h_source, host_mac);
	answer.eth.h_proto = bpf_htons(ETH_P_ARP);
	answer.arp = *arp;
	answer.arp.op = bpf_htons(ARPOP_REPLY);
	copy_const_mac(answer.arp.sender_mac, cluster_mac);
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
	struct policy *policy = policy_in_force();
	struct arp_ipv4 *arp = parse_arp(f);

	if (!arp)
		return TCX_NEXT;
	if (is_vip_v4(policy, arp->sender_ip) && !is_cluster_mac(arp->sender_mac))
		count(COUNTER_RESOLUTION_CONFLICT);
	if (arp->op != bpf_htons(ARPOP_REQUEST) || !is_vip_v4(policy, arp->target_ip)) {
		/* The answer to a request of ours, which egress_arp rewrote: OTHERHOST in
		 * Unicast mode, and arp_rcv throws it away. */
		if (is_cluster_mac(((struct ethhdr *)f->data)->h_dest))
			bpf_skb_change_type(skb, 0 /* PACKET_HOST */);
		return TCX_NEXT;
	}
	if (__builtin_memcmp(arp->sender_ip, arp->target_ip, 4) == 0)
		return TCX_DROP; /* an announcement */
	count(COUNTER_RESOLUTION_ASKED);
	if (!lease_runs())
		return TCX_DROP;
	return answer_arp(skb, arp);
}

/* With the virtual IP on lo, the kernel may use it as the sender of its own requests. The
 * neighbour would learn this host's MAC for it and send it all traffic. */
static __always_inline int egress_arp(struct __sk_buff *skb, const struct frame *f)
{
	struct arp_ipv4 *arp = parse_arp(f);
	__u8 mac[ETH_ALEN];

	if (!arp || !is_vip_v4(policy_in_force(), arp->sender_ip))
		return TCX_NEXT;
	if (arp->op == bpf_htons(ARPOP_REPLY))
		count(COUNTER_RESOLUTION_ANSWERED);
	if (is_cluster_mac(arp->sender_mac))
		return TCX_NEXT;
	copy_const_mac(mac, cluster_mac);
	if (bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct arp_ipv4, sender_mac), mac, sizeof(mac), 0))
		return TCX_DROP;
	count(COUNTER_SENDER_REWRITTEN);
	return TCX_NEXT;
}

#endif
