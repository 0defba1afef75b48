// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_TRACK_H
#define WLBS_TRACK_H

#include "count.h"
#include "maps.h"
#include "parse.h"

#define SEEN_GRANULARITY_NS 1000000000LL
#define NS_PER_MS 1000000ULL

/* Longer than hosts that merge need to know each other's connections, at the default
 * heartbeat period of 200 ms; a client whose host died waits for it once. */
#define RST_GRACE_MS 500

static __always_inline void flow_of(struct flow *flow, __u64 client_hi, __u64 client_lo, __be16 client_port,
				    __u64 vip_hi, __u64 vip_lo, __be16 vip_port)
{
	flow->client[0] = client_hi;
	flow->client[1] = client_hi >> 32;
	flow->client[2] = client_lo;
	flow->client[3] = client_lo >> 32;
	flow->vip[0] = vip_hi;
	flow->vip[1] = vip_hi >> 32;
	flow->vip[2] = vip_lo;
	flow->vip[3] = vip_lo >> 32;
	flow->client_port = client_port;
	flow->vip_port = vip_port;
}

static __always_inline void flow_inbound(struct flow *flow, const struct packet *p)
{
	flow_of(flow, p->src_hi, p->src_lo, p->src_port, p->dst_hi, p->dst_lo, p->dst_port);
}

static __always_inline void flow_outbound(struct flow *flow, const struct packet *p)
{
	flow_of(flow, p->dst_hi, p->dst_lo, p->dst_port, p->src_hi, p->src_lo, p->src_port);
}

/* KB328626: a connection is over after a FIN of each side, not before; or after a RST. */
static __always_inline bool is_closing(const struct conn *conn)
{
	const __u32 both = CONN_FIN_CLIENT | CONN_FIN_SERVER;

	return (conn->flags & CONN_RST) || (conn->flags & both) == both;
}

/* Where a cluster's connections are. */
struct tables {
	__u32 cluster;
	void *connections;
	void *half_open;
};

static __always_inline bool find_tables(struct tables *t, __u32 cluster)
{
	t->cluster = cluster;
	t->connections = bpf_map_lookup_elem(&connections, &cluster);
	t->half_open = bpf_map_lookup_elem(&half_open, &cluster);
	return t->connections && t->half_open;
}

/* A SYN opens something new, so a connection that is closing does not hold it here; its
 * last acknowledgements it does. Segments in mid-stream that nobody answered prove nothing. */
static __always_inline bool is_tracked(const struct packet *p, bool syn)
{
	struct conn *conn, *half;
	struct tables t;
	struct flow flow;

	if (!find_tables(&t, p->cluster))
		return false;
	flow_inbound(&flow, p);
	conn = bpf_map_lookup_elem(t.connections, &flow);
	if (conn)
		return !syn || !is_closing(conn);
	half = bpf_map_lookup_elem(t.half_open, &flow);
	return half && !(half->flags & CONN_MIDSTREAM);
}

static __always_inline void add_flags(struct conn *conn, __u32 flags)
{
	__sync_fetch_and_or((__u32 *)&conn->flags, flags);
}

/* Another CPU may have stamped it a tick after this one read the clock: signed. */
static __always_inline bool was_silent(const struct conn *conn, __u64 now)
{
	return (__s64)(now - conn->seen) > SEEN_GRANULARITY_NS;
}

static __always_inline void touch(struct conn *conn, __u64 now)
{
	if (was_silent(conn, now))
		conn->seen = now;
}

/* Into the connection table first, out of the half-open one second: whoever walks them in
 * the order half-open, connections misses none. */
static __always_inline bool promote(const struct tables *t, struct flow *flow, __u64 now, __u32 flags)
{
	struct conn conn = { .seen = now, .flags = flags };

	if (bpf_map_update_elem(t->connections, flow, &conn, BPF_NOEXIST))
		return false;
	bpf_map_delete_elem(t->half_open, flow);
	return true;
}

/* A connection that found no room counts once, and goes on trying. */
static __always_inline void stay_half(const struct tables *t, struct conn *half, __u64 now)
{
	if (!(half->flags & CONN_COMPLETED))
		count(t->cluster, COUNTER_UNTRACKED);
	half->flags |= CONN_COMPLETED;
	half->seen = now;
}

static __always_inline void open_half(const struct tables *t, struct flow *flow, __u64 now, __u32 flags)
{
	struct conn conn = { .seen = now, .flags = flags, .since_ms = now / NS_PER_MS };

	bpf_map_update_elem(t->half_open, flow, &conn, BPF_ANY);
}

static __always_inline void track_syn(const struct tables *t, struct flow *flow, struct conn *conn, __u64 now)
{
	struct conn *half;

	count(t->cluster, COUNTER_SYN_DELIVERED);
	if (conn && !is_closing(conn))
		return; /* the server answers with a challenge ACK */
	if (conn)
		bpf_map_delete_elem(t->connections, flow);
	half = bpf_map_lookup_elem(t->half_open, flow);
	if (half) {
		count(t->cluster, COUNTER_SYN_REPEATED);
		half->seen = now;
		return;
	}
	open_half(t, flow, now, 0);
}

/* Returns whether the handshake is complete. */
static __always_inline bool track_half_open(const struct tables *t, struct flow *flow, struct conn *half, __u32 fin,
					    __u64 now)
{
	if (half->flags & CONN_MIDSTREAM) {
		half->seen = now;
		return false; /* the server has to confirm it, see track_server */
	}
	if (!(half->flags & CONN_COMPLETED))
		count(t->cluster, COUNTER_HANDSHAKE_COMPLETED);
	if (!promote(t, flow, now, fin))
		stay_half(t, half, now);
	return true;
}

static __always_inline void track_client_known(struct conn *conn, __u8 tcp_flags, __u64 now)
{
	__u32 flag = tcp_flags & TCP_RST ? CONN_RST : tcp_flags & TCP_FIN ? CONN_FIN_CLIENT : 0;

	if (is_closing(conn))
		return;
	if (flag && !(conn->flags & flag)) {
		add_flags(conn, flag);
		conn->seen = now;
	}
	touch(conn, now);
}

/* What a client's frame that was let in tells about its connection; returns whether it completes
 * a handshake. Not static, so that the verifier looks at it once, and not at every way that
 * leads here. */
__attribute__((noinline)) int track_client(const struct packet *p)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct conn *conn, *half;
	struct tables t;
	struct flow flow;

	if (!p || !find_tables(&t, p->cluster))
		return 0;
	flow_inbound(&flow, p);
	conn = bpf_map_lookup_elem(t.connections, &flow);
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		track_syn(&t, &flow, conn, now);
		return 0;
	}
	if (conn) {
		track_client_known(conn, p->tcp_flags, now);
		return 0;
	}
	half = bpf_map_lookup_elem(t.half_open, &flow);
	if (p->tcp_flags & TCP_RST) {
		if (half)
			bpf_map_delete_elem(t.half_open, &flow);
	} else if (half) {
		return track_half_open(&t, &flow, half, p->tcp_flags & TCP_FIN ? CONN_FIN_CLIENT : 0, now);
	} else if (!(p->tcp_flags & TCP_FIN)) {
		open_half(&t, &flow, now, CONN_MIDSTREAM);
	}
	return 0;
}

static __always_inline void track_server_known(struct conn *conn, __u8 tcp_flags, __u64 now)
{
	__u32 flag = tcp_flags & TCP_RST ? CONN_RST : tcp_flags & TCP_FIN ? CONN_FIN_SERVER : 0;

	if (flag) {
		if (!(conn->flags & flag)) {
			add_flags(conn, flag);
			conn->seen = now;
		}
		return;
	}
	/* The server speaks a while after a RST: it did not believe it (RFC 5961). */
	if ((conn->flags & CONN_RST) && was_silent(conn, now))
		__sync_fetch_and_and((__u32 *)&conn->flags, ~CONN_RST);
	if (!is_closing(conn))
		touch(conn, now);
}

/* The server knows nothing of a connection that is in mid-stream. It may be right, or the
 * connection another host's: one that has just become a member, or that handed its bucket
 * over. A RST cannot be taken back, but a client asks again. */
static __always_inline bool is_premature(const struct conn *half, __u64 now)
{
	return (half->flags & CONN_MIDSTREAM) && (__u32)(now / NS_PER_MS) - half->since_ms < RST_GRACE_MS;
}

/* What a frame of the server tells about its connection; false if it must not leave. Not
 * static: as track_client. */
__attribute__((noinline)) int track_server(const struct packet *p)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct conn *conn, *half;
	struct tables t;
	struct flow flow;

	if (!p || p->tcp_flags & TCP_SYN || !find_tables(&t, p->cluster))
		return true;
	flow_outbound(&flow, p);
	conn = bpf_map_lookup_elem(t.connections, &flow);
	if (conn) {
		track_server_known(conn, p->tcp_flags, now);
		return true;
	}
	half = bpf_map_lookup_elem(t.half_open, &flow);
	if (!half)
		return true;
	if (p->tcp_flags & TCP_RST) {
		if (is_premature(half, now)) {
			count(t.cluster, COUNTER_RST_HELD);
			return false;
		}
		bpf_map_delete_elem(t.half_open, &flow);
	} else if ((half->flags & CONN_MIDSTREAM) &&
		   !promote(&t, &flow, now, p->tcp_flags & TCP_FIN ? CONN_FIN_SERVER : 0)) {
		stay_half(&t, half, now);
	}
	return true;
}

#endif
