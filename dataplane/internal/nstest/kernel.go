// SPDX-License-Identifier: Apache-2.0

package nstest

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// lacksVariable names features that the kernel cannot have, for it is older: "tcx". Only of these may
// tests skip where the environment says CI=true.
const lacksVariable = "KUBE_WLBS_KERNEL_LACKS"

// RequireTCX skips the test on a kernel without TCX (Linux 6.6). Where the environment says CI=true that is
// a failure, unless KUBE_WLBS_KERNEL_LACKS names it.
func RequireTCX(tb testing.TB) {
	tb.Helper()
	if HasTCX() {
		return
	}
	lacks := strings.Split(os.Getenv(lacksVariable), ",")
	if os.Getenv("CI") == "true" && !slices.Contains(lacks, "tcx") {
		tb.Fatalf("needs TCX (Linux 6.6), and CI=true allows no skip but of what %s names", lacksVariable)
	}
	tb.Skip("needs TCX (Linux 6.6)")
}

// HasTCX reports whether the kernel has TCX. Older ones do not know the attach type.
func HasTCX() bool {
	const loopback = 1
	_, err := link.QueryPrograms(link.QueryOptions{Target: loopback, Attach: ebpf.AttachTCXIngress})
	return !errors.Is(err, unix.EINVAL) && !errors.Is(err, ebpf.ErrNotSupported)
}
