// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_CONFIG_H
#define WLBS_CONFIG_H

#include <linux/if_ether.h>
#include "types.h"

/* Set once, before load. */
/* No XDP program stands before wlbs_ingress: it has to filter as well. */
volatile const __u8 filter_at_ingress;

/* Never read: they take the types to the generator of the Go code. */
volatile const enum counter type_counter;
volatile const enum conn_flag type_conn_flag;
const struct state *volatile const type_state;
const struct counters *volatile const type_counters;
const struct flow *volatile const type_flow;
const struct conn *volatile const type_conn;
const struct client_key *volatile const type_client_key;
const struct client *volatile const type_client;
const struct exception *volatile const type_exception;

#define ETH_P_HEARTBEAT 0x886F /* MS-NLB */

#endif
