// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func TestReadiness(t *testing.T) {
	var r readiness
	check := func(when, want string) {
		t.Helper()
		got := ""
		if err := r.missing(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	check("host of nothing", "")
	r.expect([]string{"db", "web"})
	check("nothing reported", "not up yet: the node's hosts of db, web")
	r.report("web", v1alpha1.HostConverging)
	r.report("db", v1alpha1.HostStopped)
	check("one converges", "not up yet: the node's hosts of web")
	r.report("web", v1alpha1.HostConverged)
	r.report("web", v1alpha1.HostConverging)
	check("up once", "")
	r.forget("web")
	check("removed and there again", "not up yet: the node's hosts of web")
	r.expect([]string{"db"})
	check("removed", "")
}
