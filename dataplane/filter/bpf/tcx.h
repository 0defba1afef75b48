// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#ifndef WLBS_TCX_H
#define WLBS_TCX_H

/* From <linux/bpf.h> of 6.6; the same numbers as TC_ACT_UNSPEC and TC_ACT_SHOT, so that
 * the programs fit under clsact as well. */
#define TCX_NEXT (-1)
#define TCX_DROP 2

#endif
