// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_TYPES_H
#define WLBS_TYPES_H

#include <linux/types.h>

/* Sizes of the tables. Powers of two where an index is masked, so that the verifier sees
 * the bound without a branch. */
#define VIP_CELLS_LOG2 16
#define VIP_CELLS (1 << VIP_CELLS_LOG2)
#define CLUSTERS 65 /* 0 means none: 64 clusters */
#define VIPS 256    /* of one cluster; an index is a u8 and 0 means none: 255 virtual IPs */
#define DIRECTORIES 512
#define PAGES 2048
#define SLOTS 64 /* 33 in use */
#define DEFAULT_SLOT 32
#define NO_SLOT (SLOTS - 1) /* of packets that no port rule decides about */
#define BUCKETS 60
#define QUEUES 64
#define SLOT_AMBIGUOUS 0xff

#define GENERATIONS 2

/* enum protocol indexes what exists once for TCP and once for UDP. */
enum protocol {
	PROTOCOL_TCP,
	PROTOCOL_UDP,
	PROTOCOLS,
};

/* An address is two u64 in memory order, IPv4 in its IPv6-mapped form. */
struct vip {
	__u64 hi;
	__u64 lo;
	__u16 directory[PROTOCOLS];
	/* slot of every port of the protocol, or SLOT_AMBIGUOUS: for frames without ports */
	__u8 slot_of_all[PROTOCOLS];
	__u8 pad[10];
};

/* One policy, and what this host may do under it. A disabled slot has no bucket set. */
struct slot {
	__u64 own;  /* buckets whose new connections this host accepts */
	__u64 busy; /* of those: a live peer may still have connections there */
	__u64 held; /* not own, but this host may still have connections there */
	__u64 client_mask_v4_lo;
	__u64 client_mask_v6_lo;
	__u32 port_mask;
	__u32 sticky; /* extended affinity: the rule's key in clients and exceptions; 0 is without */
	__u32 pad[4];
};

/* All that decides about a packet for one cluster, complete for one epoch. */
struct policy {
	__u64 epoch;
	__u64 pad[7];
	struct vip vips[VIPS]; /* a virtual IP keeps its index as long as it stays */
	struct slot slots[SLOTS];
	__u16 directories[DIRECTORIES][256]; /* port >> 8: index into pages */
	__u8 pages[PAGES][256];		     /* port & 255: slot */
};

/* A MAC in memory order in the lower six octets. */
typedef __u64 mac_t;

/* What every layout has in the same place. */
struct state_header {
	__u32 layout;
	__u32 ifindex; /* of the interface that the cluster is on, and its number there: the */
	__u32 cluster; /* next agent reads them, the programs do not */
	__u32 active;  /* generation in force */
	mac_t cluster_mac;
	__u64 lease; /* jiffies; 0 = revoked */
	__u64 pad[4];
};

/* One cluster's part. The agent writes it through a memory mapping, the programs only read it. */
struct state {
	struct state_header header;
	struct policy policies[GENERATIONS];
};

/* The virtual IPs of all clusters of an interface. */
struct vip_table {
	__u64 seed; /* odd; no two virtual IPs share a cell under it */
	__u64 pad[7];
	__u16 cells[VIP_CELLS]; /* number of the cluster << 8 | index into vips of its policy */
};

/* What is an interface's and no cluster's. Mapped into memory as struct state is. */
struct interface_state {
	__u32 active; /* generation of tables in force */
	__u32 layout;
	mac_t host_mac;
	__u64 pad[6];
	struct vip_table tables[GENERATIONS];
};

/* One TCP connection as its client sees it. No padding: it is a hash key. */
struct flow {
	__u32 client[4];
	__u32 vip[4];
	__be16 client_port;
	__be16 vip_port;
};

enum conn_flag {
	CONN_FIN_CLIENT = 1 << 0,
	CONN_FIN_SERVER = 1 << 1,
	CONN_RST = 1 << 2,
	CONN_MIDSTREAM = 1 << 3, /* half-open table: no SYN was seen, the server has not spoken yet */
	CONN_COMPLETED = 1 << 4, /* half-open table: handshake counted, connection table was full */
};

struct conn {
	__u64 seen; /* coarse CLOCK_MONOTONIC ns, at most SEEN_GRANULARITY_NS late */
	enum conn_flag flags;
	__u32 since_ms; /* half-open table, mid-stream: when first seen, modulo 2^32 */
};

/* A client of one rule with extended affinity, masked by the rule's affinity. No padding:
 * it is a hash key. */
struct client_key {
	__u32 client[4];
	__u32 rule;
};

struct client {
	__u64 seen; /* coarse CLOCK_MONOTONIC ns, at most CLIENT_GRANULARITY_NS late */
};

/* A client that another host holds. */
struct exception {
	__u32 holder; /* host ID */
};

enum counter {
	COUNTER_NONE,	  /* frames that are none of our business */
	COUNTER_ADMITTED, /* never counted here: see counters.admitted */
	COUNTER_REJECTED,
	COUNTER_INVALID,
	COUNTER_LEASE_EXPIRED,
	COUNTER_ANSWERED,
	COUNTER_SYN_DELIVERED,
	COUNTER_SYN_REPEATED,
	COUNTER_SYN_ACK,
	COUNTER_RST,
	COUNTER_HANDSHAKE_COMPLETED,
	COUNTER_UNTRACKED,
	COUNTER_RESOLUTION_ASKED,
	COUNTER_RESOLUTION_ANSWERED,
	COUNTER_RESOLUTION_CONFLICT,
	COUNTER_SENDER_REWRITTEN,
	COUNTER_RST_HELD,
	COUNTER_CLIENTS_FULL,
	COUNTERS,
};

/* What the filter decided under one slot. */
struct slot_counters {
	__u64 accepted;
	__u64 dropped;
	__u64 opened; /* of those accepted: SYNs */
	__u64 pad;
};

struct counters {
	__u64 stage[COUNTERS];
	__u64 admitted[QUEUES];
	__u64 delivered[QUEUES];
	struct slot_counters slots[SLOTS];
};

/* What belongs to no cluster. */
struct interface_counters {
	__u64 heartbeats;
	__u64 heartbeat_seen; /* coarse CLOCK_MONOTONIC ns */
	__u64 source_blocked;
};

/* What wlbs_clock answers. */
struct clock {
	__u64 jiffies;
};

#endif
