// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_COUNT_H
#define WLBS_COUNT_H

#include "maps.h"
#include "parse.h"

static __always_inline struct counters *this_cpu_counters(__u32 cluster)
{
	void *own = bpf_map_lookup_elem(&counts, &cluster);
	__u32 zero = 0;

	return own ? bpf_map_lookup_elem(own, &zero) : NULL;
}

static __always_inline void count_n(__u32 cluster, enum counter which, __u64 n)
{
	struct counters *c = this_cpu_counters(cluster);

	if (c)
		c->stage[which] += n;
}

static __always_inline void count(__u32 cluster, enum counter which)
{
	count_n(cluster, which, 1);
}

static __always_inline void count_admitted(__u32 queue, const struct packet *p, __u64 n)
{
	struct counters *c = this_cpu_counters(p->cluster);
	struct slot_counters *slot;

	if (!c)
		return;
	c->admitted[queue & (QUEUES - 1)] += n;
	slot = &c->slots[p->slot & (SLOTS - 1)];
	slot->accepted += n;
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		slot->opened += n;
}

static __always_inline void count_dropped(enum counter why, const struct packet *p, __u64 n)
{
	struct counters *c = this_cpu_counters(p->cluster);

	if (!c)
		return;
	c->stage[why] += n;
	c->slots[p->slot & (SLOTS - 1)].dropped += n;
}

static __always_inline void count_delivered(__u32 cluster, __u32 queue, __u64 n)
{
	struct counters *c = this_cpu_counters(cluster);

	if (c)
		c->delivered[queue & (QUEUES - 1)] += n;
}

static __always_inline struct interface_counters *this_cpu_interface_counters(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&interface_counts, &zero);
}

/* Heartbeats are stamped where frames come in, so that "unheard" can be told apart from
 * "not read by the agent". */
static __always_inline void count_heartbeat(void)
{
	struct interface_counters *c = this_cpu_interface_counters();

	if (!c)
		return;
	c->heartbeats++;
	c->heartbeat_seen = bpf_ktime_get_coarse_ns();
}

static __always_inline void count_source_blocked(void)
{
	struct interface_counters *c = this_cpu_interface_counters();

	if (c)
		c->source_blocked++;
}

#endif
