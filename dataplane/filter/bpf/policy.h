// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_POLICY_H
#define WLBS_POLICY_H

#include <bpf/bpf_endian.h>
#include "hash.h"
#include "maps.h"
#include "parse.h"

/* A packet asks once, so that it sees the epoch before a commit or the one after it. */
static __always_inline struct policy *policy_in_force(void)
{
	__u32 active = *(volatile __u32 *)&filter_state.active;

	return &filter_state.policies[active & (GENERATIONS - 1)];
}

static __always_inline struct vip *find_vip(struct policy *policy, __u64 hi, __u64 lo)
{
	__u8 index = policy->cells[vip_cell(policy->seed, hi, lo)];
	struct vip *vip;

	if (index == 0)
		return NULL;
	vip = &policy->vips[index];
	return vip->lo == lo && vip->hi == hi ? vip : NULL;
}

/* Constant time, whatever the number of rules and ranges. */
static __always_inline __u32 slot_index(struct policy *policy, const struct vip *vip, enum protocol protocol,
					__be16 port_be)
{
	__u16 port = bpf_ntohs(port_be);
	__u16 directory = vip->directory[protocol & 1] & (DIRECTORIES - 1);
	__u16 page = policy->directories[directory][port >> 8] & (PAGES - 1);

	return policy->pages[page][port & 0xff] & (SLOTS - 1);
}

static __always_inline struct slot *find_slot(struct policy *policy, const struct vip *vip, enum protocol protocol,
					      __be16 port_be)
{
	return &policy->slots[slot_index(policy, vip, protocol, port_be)];
}

static __always_inline __u64 bucket_bit(const struct slot *slot, const struct packet *p)
{
	__u64 mask = p->v6 ? slot->client_mask_v6_lo : slot->client_mask_v4_lo;
	__u32 port = bpf_ntohs(p->src_port) & slot->port_mask;

	return 1ULL << bucket_of(p->src_hi, p->src_lo & mask, port);
}

static __always_inline __u64 address_bit(const struct slot *slot, const struct packet *p)
{
	__u64 mask = p->v6 ? slot->client_mask_v6_lo : slot->client_mask_v4_lo;

	return 1ULL << bucket_of(p->src_hi, p->src_lo & mask, 0);
}

/* In jiffies, which the JIT reads in place: bpf_ktime_get_coarse_ns is as exact, a tick,
 * but a call that costs more than all else about a packet at rest. */
static __always_inline bool lease_runs(void)
{
	return bpf_jiffies64() < *(volatile __u64 *)&filter_state.lease;
}

#endif
