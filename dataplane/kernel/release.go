// SPDX-License-Identifier: Apache-2.0

// Package kernel says which Linux the dataplane needs.
package kernel

import (
	"fmt"
	"strconv"
	"strings"
)

// Release is a release of Linux, such as 6.1. What comes after the second number does not count.
type Release struct{ Major, Minor int }

// Minimum is the lowest release that the dataplane runs on, and the lowest that it is tested on.
//
// IPv6 addresses can be marked as ours from 5.18 on (IFA_PROTO), without which the agent could not tell
// the addresses that it added from those of others. The helpers by which XDP programs read frames of
// several buffers are of 5.18, too (bpf_xdp_get_buff_len, bpf_xdp_load_bytes). 6.1 is the first
// release after that which distributions still maintain.
func Minimum() Release { return Release{6, 1} }

// Parse reads a release as uname prints it, such as "6.1.0-56-amd64".
func Parse(uname string) (Release, error) {
	major, rest, _ := strings.Cut(uname, ".")
	minor := rest
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		minor = rest[:end]
	}
	r := Release{}
	var err error
	if r.Major, err = strconv.Atoi(major); err == nil {
		r.Minor, err = strconv.Atoi(minor)
	}
	if err != nil {
		return Release{}, fmt.Errorf("%q is no release of Linux", uname)
	}
	return r, nil
}

// String returns the release as people write it.
func (r Release) String() string { return fmt.Sprintf("%d.%d", r.Major, r.Minor) }

// before reports whether the release came before another one.
func (r Release) before(other Release) bool {
	return r.Major < other.Major || (r.Major == other.Major && r.Minor < other.Minor)
}

// Check returns an error, a sentence for people, unless a kernel with this release will do. A release that cannot
// be read is given the benefit of the doubt: loading the programs will tell.
func Check(uname string) error {
	if r, err := Parse(uname); err == nil && r.before(Minimum()) {
		return fmt.Errorf("the node runs Linux %s, and kube-wlbs needs %s or later", uname, Minimum())
	}
	return nil
}
