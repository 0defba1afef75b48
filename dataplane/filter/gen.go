// SPDX-License-Identifier: Apache-2.0

package filter

// BPF2GO_CC names another compiler than clang; the committed object comes from clang 14.
// The multiarch directories hold asm/types.h, which is the same on all 64-bit machines.
//go:generate go tool bpf2go -tags linux -target bpfel -output-stem wlbs -no-global-types -type interface_state -type vip_table -type state -type state_header -type policy -type vip -type slot -type flow -type conn -type conn_flag -type client_key -type client -type exception -type counter -type counters -type slot_counters -type interface_counters -type clock wlbs bpf/wlbs.c -- -mcpu=v3 -Wall -Wextra -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
