// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_POLICY_H
#define WLBS_POLICY_H

#include <bpf/bpf_endian.h>
#include "hash.h"
#include "maps.h"
#include "parse.h"

/* A virtual IP, the cluster whose it is, and the cluster's policy in force. */
struct target {
	__u32 cluster;
	const struct state *state;
	struct policy *policy;
	struct vip *vip;
};

static __always_inline struct state *state_of(__u32 cluster)
{
	void *own = bpf_map_lookup_elem(&states, &cluster);
	__u32 zero = 0;

	return own ? bpf_map_lookup_elem(own, &zero) : NULL;
}

/* find_vip tells whether an address is a virtual IP, and all about it. A packet asks once,
 * so that it sees the table and the policy before a commit or those after it. Between the
 * two flips of a commit that changes virtual IPs a cell may lead to a virtual IP that is no
 * more, or to another one: the policy has the last word. */
static __always_inline bool find_vip(struct target *t, __u64 hi, __u64 lo)
{
	__u32 active = *(volatile __u32 *)&globals.active & (GENERATIONS - 1);
	const struct vip_table *table = &globals.tables[active];
	__u16 cell = table->cells[vip_cell(table->seed, hi, lo)];
	struct state *state;

	if (cell == 0)
		return false;
	t->cluster = cell >> 8;
	state = state_of(t->cluster);
	if (!state)
		return false;
	t->state = state;
	active = *(volatile __u32 *)&state->header.active & (GENERATIONS - 1);
	t->policy = &state->policies[active];
	t->vip = &t->policy->vips[cell & (VIPS - 1)];
	return t->vip->lo == lo && t->vip->hi == hi;
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
static __always_inline bool lease_runs(const struct state *state)
{
	return bpf_jiffies64() < *(volatile __u64 *)&state->header.lease;
}

#endif
