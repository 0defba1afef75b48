// SPDX-License-Identifier: Apache-2.0

package kernel

import "testing"

func TestParse(t *testing.T) {
	for uname, want := range map[string]string{
		"6.1.0-56-amd64":           "6.1",
		"6.12.117+deb12-amd64":     "6.12",
		"7.3.4+deb13-arm64":        "7.3",
		"5.15.0-1084-azure":        "5.15",
		"5.14.0-570.el9.x86_64":    "5.14",
		"6.6-rc1":                  "6.6",
		"6.18":                     "6.18",
		"10.0.0":                   "10.0",
		"6.8.0-60-generic-special": "6.8",
	} {
		if got, err := Parse(uname); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v, want %s", uname, got, err, want)
		}
	}
	for _, uname := range []string{"", "linux", "6", "6.", ".1", "six.one", "6.x"} {
		if got, err := Parse(uname); err == nil {
			t.Errorf("%q: %v, want an error", uname, got)
		}
	}
}

func TestCheck(t *testing.T) {
	for uname, want := range map[string]string{
		"6.1.0-56-amd64":       "",
		"6.12.117+deb12-amd64": "",
		"7.0.0":                "",
		"10.0.0":               "",
		"unheard-of":           "",
		"6.0.9":                "the node runs Linux 6.0.9, and kube-wlbs needs 6.1 or later",
		"5.15.0-1084-azure":    "the node runs Linux 5.15.0-1084-azure, and kube-wlbs needs 6.1 or later",
		"4.19.0":               "the node runs Linux 4.19.0, and kube-wlbs needs 6.1 or later",
	} {
		got := ""
		if err := Check(uname); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", uname, got, want)
		}
	}
}

func TestRunning(t *testing.T) {
	uname, err := Running()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Parse(uname); err != nil || r.Major < 3 {
		t.Errorf("%q: %v, %v", uname, r, err)
	}
}
