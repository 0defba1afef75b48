// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_STICKY_H
#define WLBS_STICKY_H

#include "count.h"
#include "policy.h"
#include "track.h"

/* Extended affinity (US8046467): a client stays with its host when its bucket moves. Only
 * rules by address have it, so the bucket of a client is that of all its connections. */

#define CLIENT_GRANULARITY_NS 100000000LL
#define EEXIST 17

static __always_inline void client_of(struct client_key *key, const struct slot *slot, const struct packet *p)
{
	__u64 lo = p->src_lo & (p->v6 ? slot->client_mask_v6_lo : slot->client_mask_v4_lo);

	key->client[0] = p->src_hi;
	key->client[1] = p->src_hi >> 32;
	key->client[2] = lo;
	key->client[3] = lo >> 32;
	key->rule = slot->sticky;
}

static __always_inline bool is_held_here(const struct client_key *key, __u32 cluster)
{
	void *own = bpf_map_lookup_elem(&clients, &cluster);

	return own && bpf_map_lookup_elem(own, key);
}

static __always_inline bool is_held_elsewhere(const struct client_key *key, __u32 cluster)
{
	void *own = bpf_map_lookup_elem(&exceptions, &cluster);

	return own && bpf_map_lookup_elem(own, key);
}

/* Connections that are open stay where they are, also where their client has gone to another
 * host. Of a client that is held outside of the own buckets, nothing but its SYN opens
 * anything: what is unknown may be the bucket's owner's, as after a partition. */
static __always_inline bool accepts_sticky_tcp(const struct slot *slot, const struct packet *p,
					       const struct client_key *key, __u64 bit)
{
	bool syn = (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;

	if (slot->own & bit) {
		if ((syn || !(slot->busy & bit)) && !is_held_elsewhere(key, p->cluster))
			return true;
	} else if (is_held_here(key, p->cluster)) {
		if (syn)
			return true;
	} else if (!(slot->held & bit)) {
		return false;
	}
	return is_tracked(p, syn);
}

/* A bucket's owner drops the clients that others hold; who holds one accepts it. Not static,
 * so that the verifier looks at it once. */
__attribute__((noinline)) int accepts_sticky(const struct slot *slot, const struct packet *p)
{
	struct client_key key;
	__u64 bit;

	if (!slot || !p)
		return 0;
	client_of(&key, slot, p);
	bit = address_bit(slot, p);
	if (p->kind == KIND_TCP)
		return accepts_sticky_tcp(slot, p, &key, bit);
	if (slot->own & bit)
		return !is_held_elsewhere(&key, p->cluster);
	if (p->kind == KIND_FRAGMENT && (slot->held & bit))
		return 1;
	return is_held_here(&key, p->cluster);
}

/* Keeps the client of an admitted datagram, or of a handshake that was completed: a SYN alone
 * keeps nobody. New ones come from own buckets only, so that the list of those outside, which
 * the peers have, never grows between two epochs. */
__attribute__((noinline)) int note_client(const struct slot *slot, const struct packet *p)
{
	struct client fresh = { .seen = bpf_ktime_get_coarse_ns() };
	struct client_key key;
	struct client *client;
	__u32 cluster;
	void *own;

	if (!slot || !p || !slot->sticky)
		return 0;
	cluster = p->cluster;
	own = bpf_map_lookup_elem(&clients, &cluster);
	if (!own)
		return 0;
	client_of(&key, slot, p);
	client = bpf_map_lookup_elem(own, &key);
	if (client) {
		if ((__s64)(fresh.seen - client->seen) > CLIENT_GRANULARITY_NS)
			client->seen = fresh.seen;
		return 0;
	}
	if (!(slot->own & address_bit(slot, p)) || is_held_elsewhere(&key, cluster))
		return 0;
	switch (bpf_map_update_elem(own, &key, &fresh, BPF_NOEXIST)) {
	case 0:
	case -EEXIST:
		break;
	default:
		count(cluster, COUNTER_CLIENTS_FULL);
	}
	return 0;
}

#endif
