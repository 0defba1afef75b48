// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_HASH_H
#define WLBS_HASH_H

#include "types.h"

/* bucket_of and package bucket's Of are twins: change both, and every host of a cluster
 * at once, or hosts disagree about who owns a client. hi and lo are the client's address
 * in memory order, port in host order (0 where the affinity leaves it out).
 *
 * The finalizer of MurmurHash3 without its last shift, which only mixes bits that the
 * reduction by multiplication drops. */
static __always_inline __u32 bucket_of(__u64 hi, __u64 lo, __u32 port)
{
	__u64 x = lo ^ hi * 0x9e3779b97f4a7c15ULL;

	x += (__u64)port * 0xd6e8feb86659fd93ULL;
	x ^= x >> 32;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return (x >> 32) * BUCKETS >> 32;
}

/* vip_cell and the composer of virtual IP tables (Go) are twins as well. */
static __always_inline __u32 vip_cell(__u64 seed, __u64 hi, __u64 lo)
{
	return (lo ^ hi * 0x9e3779b97f4a7c15ULL) * seed >> (64 - VIP_CELLS_LOG2);
}

#endif
