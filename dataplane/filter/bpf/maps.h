// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_MAPS_H
#define WLBS_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "types.h"

/* A global, not a map looked up: its address is an immediate, so a frame that is not for
 * a virtual IP costs no helper call at all. */
struct interface_state globals;

/* Key: 0. Value: the interface's counters of one CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct interface_counters);
} interface_counts SEC(".maps");

/* Key: MAC of one or several clusters of the interface. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128); /* twice as many as clusters: new ones go in before old ones go out */
	__type(key, mac_t);
	__type(value, __u32);
} cluster_macs SEC(".maps");

/* What follows is each cluster's own. The key of the outer maps is its number. */

/* Key: 0. Value: what decides about the cluster's packets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CLUSTERS);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_ARRAY);
			__uint(map_flags, BPF_F_MMAPABLE);
			__uint(max_entries, 1);
			__type(key, __u32);
			__type(value, struct state);
		});
} states SEC(".maps");

/* Key: 0. Value: counters of one CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CLUSTERS);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
			__uint(max_entries, 1);
			__type(key, __u32);
			__type(value, struct counters);
		});
} counts SEC(".maps");

/* Key: connection. Value: when seen, how far closed. Never evicts: when it is full, new
 * connections go on untracked, as in NLB (MaxConnectionDescriptors). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CLUSTERS);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_HASH);
			__uint(map_flags, BPF_F_NO_PREALLOC);
			__uint(max_entries, 262144);
			__type(key, struct flow);
			__type(value, struct conn);
		});
} connections SEC(".maps");

/* Key: connection of which only a SYN, or one segment in mid-stream, was seen. Evicts the
 * oldest: a SYN flood pushes out half-open connections, never established ones. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CLUSTERS);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_LRU_HASH);
			__uint(max_entries, 32768);
			__type(key, struct flow);
			__type(value, struct conn);
		});
} half_open SEC(".maps");

/* Key: client of a rule with extended affinity that stays with this host. Value: when it last
 * had a connection. Never evicts: when it is full, new clients are served without. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CLUSTERS);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_HASH);
			__uint(map_flags, BPF_F_NO_PREALLOC);
			__uint(max_entries, 65536);
			__type(key, struct client_key);
			__type(value, struct client);
		});
} clients SEC(".maps");

/* Key: client of a rule with extended affinity that stays with another host. Value: which. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CLUSTERS);
	__type(key, __u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_HASH);
			__uint(map_flags, BPF_F_NO_PREALLOC);
			__uint(max_entries, 262144);
			__type(key, struct client_key);
			__type(value, struct exception);
		});
} exceptions SEC(".maps");

#endif
