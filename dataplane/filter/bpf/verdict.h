// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_VERDICT_H
#define WLBS_VERDICT_H

#include "policy.h"
#include "sticky.h"
#include "track.h"

/* At rest, that is own and not busy, and where neither this host nor a peer can have a
 * connection, the maps alone decide. Only a bucket on the move costs a lookup. */
static __always_inline bool accepts_tcp(const struct slot *slot, const struct packet *p)
{
	bool syn = (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	__u64 bit = bucket_bit(slot, p);

	if (slot->own & bit) {
		if (syn || !(slot->busy & bit))
			return true;
	} else if (!(slot->held & bit)) {
		return false;
	}
	return is_tracked(p, syn);
}

/* KB Q229064, Q247819: later fragments carry no ports. Where one slot covers all ports of
 * the protocol and ownership needs no port, they go where the first one went. Else every
 * host takes them, and all but one throw them away when reassembly times out. */
static __always_inline bool accepts_fragment(struct policy *policy, const struct vip *vip, struct packet *p)
{
	const struct slot *slot = &policy->slots[DEFAULT_SLOT];

	p->slot = DEFAULT_SLOT;
	if (p->protocol < PROTOCOLS) {
		__u8 index = vip->slot_of_all[p->protocol & 1];

		if (index == SLOT_AMBIGUOUS) {
			p->slot = NO_SLOT;
			return true;
		}
		p->slot = index & (SLOTS - 1);
		slot = &policy->slots[p->slot];
	}
	if (slot->sticky)
		return accepts_sticky(slot, p);
	return (slot->own | slot->held) & address_bit(slot, p);
}

static __always_inline bool accepts(struct policy *policy, const struct vip *vip, struct packet *p)
{
	const struct slot *slot;

	switch (p->kind) {
	case KIND_TCP:
		p->slot = slot_index(policy, vip, PROTOCOL_TCP, p->dst_port);
		slot = &policy->slots[p->slot];
		return slot->sticky ? accepts_sticky(slot, p) : accepts_tcp(slot, p);
	case KIND_UDP:
		p->slot = slot_index(policy, vip, PROTOCOL_UDP, p->dst_port);
		slot = &policy->slots[p->slot];
		return slot->sticky ? accepts_sticky(slot, p) : slot->own & bucket_bit(slot, p);
	case KIND_FRAGMENT:
		return accepts_fragment(policy, vip, p);
	case KIND_ADDRESS:
		p->slot = DEFAULT_SLOT;
		slot = &policy->slots[DEFAULT_SLOT];
		return slot->own & address_bit(slot, p);
	case KIND_EVERYWHERE:
		return true;
	}
	return false;
}

/* judge returns COUNTER_ADMITTED or the reason why not, and notes the slot. */
static __always_inline enum counter judge(const struct target *t, struct packet *p)
{
	p->slot = NO_SLOT;
	if (p->kind == KIND_INVALID)
		return COUNTER_INVALID;
	if (!accepts(t->policy, t->vip, p))
		return COUNTER_REJECTED;
	return lease_runs(t->state) ? COUNTER_ADMITTED : COUNTER_LEASE_EXPIRED;
}

#endif
