// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone/schema"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// yamlOf is a cluster of three hosts in a file.
func yamlOf(name string, spec ...string) string {
	lines := append([]string{"hosts: [{nodeName: node-a}, {nodeName: node-b, hostID: 1}, {nodeName: node-c}]"}, spec...)
	return fmt.Sprintf("apiVersion: wlbs.dev/v1alpha1\nkind: LoadBalancingCluster\nmetadata: {name: %s}\nspec:\n  %s\n", name, strings.Join(lines, "\n  "))
}

func vips(addresses ...string) string { return "virtualIPs: [" + strings.Join(addresses, ", ") + "]" }

// folder is a directory without a disk: what a Source does with it, at times that a test chooses.
type folder struct {
	t     *testing.T
	run   *run
	files map[string]found
	now   time.Time
	// use is what the node serves, by cluster.
	use map[string][]string
	// got is what was delivered last, times how often.
	got   []plan.Config
	times int
	log   strings.Builder
	err   error
}

func newFolder(t *testing.T, source Source) *folder {
	t.Helper()
	validator, err := schema.New()
	if err != nil {
		t.Fatal(err)
	}
	f := &folder{t: t, files: map[string]found{}, now: time.Unix(1_000_000, 0), use: map[string][]string{}}
	source.Node, source.InUse = "node-a", func(cluster string) []string { return f.use[cluster] }
	source.Log = slog.New(slog.NewTextHandler(&f.log, nil))
	if source.File == "" {
		source.Dir = "/etc/kube-wlbs"
	}
	f.run = newRun(&source, validator)
	return f
}

func (f *folder) write(name, content string) {
	f.files[name] = found{name: name, content: []byte(content)}
}

func (f *folder) fail(name string, err error) { f.files[name] = found{name: name, err: err} }

func (f *folder) remove(name string) { delete(f.files, name) }

// look lets a second pass and the files be looked at. What is served follows what is delivered.
func (f *folder) look() {
	f.now = f.now.Add(time.Second)
	l := look{}
	for _, file := range f.files {
		l.files = append(l.files, file)
	}
	slices.SortFunc(l.files, func(a, b found) int { return strings.Compare(a.name, b.name) })
	f.update(l)
}

func (f *folder) update(l look) {
	f.err = f.run.update(f.t.Context(), l, f.now, func(configs []plan.Config) { f.got, f.times = configs, f.times+1 })
}

// wait looks for some seconds.
func (f *folder) wait(seconds int) {
	for range seconds {
		f.look()
	}
}

// check compares what is delivered: each cluster, its host's ID and its virtual IPs.
func (f *folder) check(what string, want ...string) {
	f.t.Helper()
	var got []string
	for _, c := range f.got {
		got = append(got, fmt.Sprintf("%s/%d %v", c.Cluster.Name, c.Host.Spec.HostID, c.Host.Spec.VirtualIPs))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// says checks that something was logged once.
func (f *folder) says(what string, parts ...string) {
	f.t.Helper()
	times := 0
	for line := range strings.Lines(f.log.String()) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			times++
		}
	}
	if times != 1 {
		f.t.Errorf("%s: %d times in the log, want once: %q\n%s", what, times, parts, f.log.String())
	}
	f.log.Reset()
}

func TestDeliversAllAtOnce(t *testing.T) {
	f := newFolder(t, Source{})
	f.write("b.yaml", yamlOf("mail", vips("10.77.0.101")))
	f.write("a.yaml", yamlOf("web", vips("10.77.0.100")))
	f.write("c.yaml", strings.Replace(yamlOf("other", vips("10.77.0.102")), "{nodeName: node-a}, ", "", 1))
	f.look()
	f.check("at the start", "web/2 [10.77.0.100]", "mail/2 [10.77.0.101]")
	f.wait(5)
	if f.times != 1 {
		t.Errorf("delivered %d times though nothing changed", f.times)
	}
	f.write("d.yaml", yamlOf("dns", vips("10.77.0.53")))
	f.look()
	f.check("one more", "web/2 [10.77.0.100]", "mail/2 [10.77.0.101]", "dns/2 [10.77.0.53]")
	if f.log.Len() > 0 {
		t.Errorf("logged: %s", f.log.String())
	}
}

func TestGenerationsCountChanges(t *testing.T) {
	f := newFolder(t, Source{})
	check := func(what string, cluster, host int64) {
		t.Helper()
		f.look()
		if c := f.got[0]; c.Cluster.Generation != cluster || c.Host.Generation != host {
			t.Errorf("%s: generations %d, %d, want %d, %d", what, c.Cluster.Generation, c.Host.Generation, cluster, host)
		}
	}
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100")))
	check("at first", 1, 1)
	f.write("web.yaml", "# a comment\n"+yamlOf("web", vips("10.77.0.100")))
	check("a comment", 1, 1)
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100"), "heartbeat: {tolerance: 9}"))
	check("another tolerance", 2, 1)
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100"), "drainTimeoutSeconds: 9"))
	check("another timeout of the host", 3, 2)
}

// Whatever is wrong with a file, the last good one stays in force, the log says it once, and the host is told.
func TestFaultsChangeNothing(t *testing.T) {
	good := yamlOf("web", vips("10.77.0.100"))
	for name, test := range map[string]struct {
		change func(*folder)
		want   []string
	}{
		"unreadable":      {func(f *folder) { f.fail("web.yaml", errors.New("permission denied")) }, []string{"permission denied"}},
		"no YAML":         {func(f *folder) { f.write("web.yaml", "spec: [\n") }, []string{"yaml"}},
		"unknown field":   {func(f *folder) { f.write("web.yaml", good+"  mod: Unicast\n") }, []string{"unknown field spec.mod"}},
		"impossible":      {func(f *folder) { f.write("web.yaml", yamlOf("web", vips("10.77.0.100", "127.0.0.1"))) }, []string{"spec.virtualIPs[1]", "loopback"}},
		"immutable":       {func(f *folder) { f.write("web.yaml", good+"  mode: Unicast\n") }, []string{"mode is immutable"}},
		"another primary": {func(f *folder) { f.write("web.yaml", yamlOf("web", vips("10.77.0.9"))) }, []string{"primary virtual IP"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t, Source{})
			f.write("web.yaml", good)
			f.look()
			test.change(f)
			f.wait(20)
			f.check("with the fault", "web/2 [10.77.0.100]")
			if c := f.got[0]; f.times != 2 || c.Cluster.Generation != 1 || c.Host.Generation != 1 || !strings.Contains(c.Refused, test.want[0]) {
				t.Errorf("delivered %d times, generations %d and %d, refused %q", f.times, c.Cluster.Generation, c.Host.Generation, c.Refused)
			}
			f.says("the fault", append(test.want, "file=/etc/kube-wlbs/web.yaml")...)
			f.write("web.yaml", yamlOf("web", vips("10.77.0.100"), "heartbeat: {tolerance: 9}"))
			f.look()
			if f.times != 3 || f.got[0].Cluster.Generation != 2 || f.got[0].Refused != "" {
				t.Errorf("mended: delivered %d times, refused %q", f.times, f.got[0].Refused)
			}
			f.says("that it is mended", "in order again")
		})
	}
}

// A document that once had an end is cut short without.
func TestEndMarker(t *testing.T) {
	f := newFolder(t, Source{})
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100"))+"...\n")
	f.look()
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100")))
	f.look()
	f.says("that it has no end", "cut short")
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100", "10.77.0.101"))+"...\n")
	f.look()
	f.check("whole again", "web/2 [10.77.0.100 10.77.0.101]")
}

func TestSuspendedHostTakesNoCommandButResume(t *testing.T) {
	in := func(state string) string {
		return strings.Replace(yamlOf("web", vips("10.77.0.100")), "{nodeName: node-a}", "{nodeName: node-a, desiredState: "+state+"}", 1)
	}
	f := newFolder(t, Source{})
	f.write("web.yaml", in("Suspended"))
	f.look()
	f.write("web.yaml", in("Started"))
	f.look()
	f.says("why not", "host node-a is suspended and refuses control commands")
	if f.got[0].Host.Spec.DesiredState != v1alpha1.DesiredStateSuspended {
		t.Errorf("the host is %s", f.got[0].Host.Spec.DesiredState)
	}
	if got := f.got[0].Refused; !strings.Contains(got, "host node-a is suspended and refuses control commands") {
		t.Errorf("the host is told that %q is refused", got)
	}
	for _, state := range []string{"Stopped", "Started"} {
		f.write("web.yaml", in(state))
		f.look()
		if got := string(f.got[0].Host.Spec.DesiredState); got != state {
			t.Errorf("the host is %s, want %s", got, state)
		}
		if got := f.got[0].Refused; got != "" {
			t.Errorf("the host is told that %q is refused", got)
		}
	}
}

func TestRemovedFileRemovesItsClusterAfterAWhile(t *testing.T) {
	f := newFolder(t, Source{})
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100")))
	f.write("mail.yaml", yamlOf("mail", vips("10.77.0.101")))
	f.look()
	f.remove("web.yaml")
	f.wait(9)
	f.check("at first", "mail/2 [10.77.0.101]", "web/2 [10.77.0.100]")
	f.says("what is to come", "no file has cluster web")
	f.update(look{err: errors.New("input/output error")})
	f.says("what is wrong", "input/output error")
	f.log.Reset()
	f.wait(9)
	f.check("the directory could not be read meanwhile", "mail/2 [10.77.0.101]", "web/2 [10.77.0.100]")
	f.wait(2)
	f.check("gone for long", "mail/2 [10.77.0.101]")
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100"), "mode: Unicast"))
	f.look()
	f.check("a new cluster of that name", "mail/2 [10.77.0.101]", "web/2 [10.77.0.100]")
}

// Who saves by removing and writing anew, or gives the file another name, removes nothing.
func TestMovedFileKeepsItsCluster(t *testing.T) {
	f := newFolder(t, Source{})
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100")))
	f.look()
	f.remove("web.yaml")
	f.wait(3)
	f.fail("site.yaml", errors.New("is empty"))
	f.wait(30)
	f.check("a file that may be the cluster's", "web/2 [10.77.0.100]")
	f.write("site.yaml", yamlOf("web", vips("10.77.0.100", "10.77.0.101")))
	f.wait(30)
	f.check("in another file", "web/2 [10.77.0.100 10.77.0.101]")
}

func TestOneFileForACluster(t *testing.T) {
	f := newFolder(t, Source{})
	f.write("b.yaml", yamlOf("web", vips("10.77.0.100")))
	f.look()
	f.write("a.yaml", yamlOf("web", vips("10.77.0.100", "10.77.0.101")))
	f.wait(20)
	f.check("with a second file", "web/2 [10.77.0.100]")
	f.says("who has it", "file=/etc/kube-wlbs/a.yaml", "cluster web is in force from b.yaml")
	f.remove("b.yaml")
	f.look()
	f.check("the other file is gone", "web/2 [10.77.0.100 10.77.0.101]")
}

func TestVirtualIPStaysWithWhoHadItFirst(t *testing.T) {
	f := newFolder(t, Source{})
	f.write("b.yaml", yamlOf("web", vips("10.77.0.100")))
	f.look()
	f.write("a.yaml", yamlOf("mail", vips("10.77.0.101", "10.77.0.100")))
	f.wait(5)
	f.check("the newcomer does without", "web/2 [10.77.0.100]", "mail/2 [10.77.0.101]")
	f.says("who has it", "cluster=mail", "virtual IP 10.77.0.100 is assigned to cluster web", "file=/etc/kube-wlbs/a.yaml")
	if c := f.got[1].Cluster.Status.Conditions; len(c) != 1 || c[0].Reason != v1alpha1.ReasonVirtualIPConflict {
		t.Errorf("conditions: %+v", c)
	}

	f.use["web"] = []string{"10.77.0.100"}
	f.remove("b.yaml")
	f.wait(15)
	f.check("removed, and still served here", "mail/2 [10.77.0.101]")
	f.use["web"] = nil
	f.look()
	f.check("free again", "mail/2 [10.77.0.101 10.77.0.100]")
	if c := f.got[0].Cluster.Status.Conditions; len(c) != 0 {
		t.Errorf("conditions: %+v", c)
	}
}

func TestVirtualIPGoesToTheFirstFileAtTheStart(t *testing.T) {
	f := newFolder(t, Source{})
	f.write("b.yaml", yamlOf("web", vips("10.77.0.100")))
	f.write("a.yaml", yamlOf("mail", vips("10.77.0.100")))
	f.look()
	f.check("at the start", "mail/2 [10.77.0.100]", "web/2 []")
	if vips := f.got[1].Host.Spec.VirtualIPs; vips == nil {
		t.Error("a host that serves none says nothing of that")
	}
}

// last is what an agent that ended had in force.
func last(t *testing.T, name string, spec ...string) plan.Config {
	t.Helper()
	f := newFolder(t, Source{})
	f.write(name+".yaml", yamlOf(name, spec...))
	f.look()
	f.got[0].Cluster.Generation, f.got[0].Host.Generation = 7, 5
	return f.got[0]
}

func TestWhatWasInForceStays(t *testing.T) {
	web, mail := last(t, "web", vips("10.77.0.100")), last(t, "mail", vips("10.77.0.101"))
	f := newFolder(t, Source{Last: func() []plan.Config { return []plan.Config{web, mail} }})
	f.fail("a.yaml", errors.New("is empty"))
	f.write("mail.yaml", yamlOf("mail", vips("10.77.0.101", "10.77.0.100")))
	f.wait(30)
	f.check("a file is of no use", "web/2 [10.77.0.100]", "mail/2 [10.77.0.101]")
	if f.got[0].Cluster.Generation != 7 || f.got[1].Cluster.Generation != 8 {
		t.Errorf("generations %d, %d", f.got[0].Cluster.Generation, f.got[1].Cluster.Generation)
	}
	f.write("a.yaml", yamlOf("web", vips("10.77.0.9")))
	f.wait(30)
	f.check("what must not change is another", "web/2 [10.77.0.100]", "mail/2 [10.77.0.101]")
	f.remove("a.yaml")
	f.wait(30)
	f.check("gone for good", "mail/2 [10.77.0.101 10.77.0.100]")
}

func TestSingleFile(t *testing.T) {
	f := newFolder(t, Source{File: "/etc/web.yaml"})
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100")))
	f.look()
	f.fail("web.yaml", errors.New("no such file or directory"))
	f.wait(60)
	f.check("the file is gone", "web/2 [10.77.0.100]")
	f.says("that it is gone", "file=/etc/web.yaml", "no such file")
	f.write("web.yaml", yamlOf("mail", vips("10.77.0.100")))
	f.wait(60)
	f.check("another cluster", "web/2 [10.77.0.100]")
	f.log.Reset()
	f.write("web.yaml", yamlOf("web", vips("10.77.0.100", "10.77.0.101")))
	f.look()
	f.check("whole again", "web/2 [10.77.0.100 10.77.0.101]")
}

func TestNothingToDeliver(t *testing.T) {
	f := newFolder(t, Source{File: "/etc/web.yaml"})
	f.write("web.yaml", "spec: [\n")
	f.look()
	if f.err == nil || !strings.Contains(f.err.Error(), "cluster file /etc/web.yaml") || f.times != 0 {
		t.Errorf("a single file without use: %v, delivered %d times", f.err, f.times)
	}
	f = newFolder(t, Source{})
	f.update(look{err: errors.New("no such file or directory")})
	if f.err == nil || !strings.Contains(f.err.Error(), "config directory /etc/kube-wlbs") || f.times != 0 {
		t.Errorf("no directory: %v, delivered %d times", f.err, f.times)
	}
	f.look()
	if f.err != nil || f.times != 1 || len(f.got) != 0 {
		t.Errorf("an empty directory: %v, delivered %d times", f.err, f.times)
	}
	f = newFolder(t, Source{File: "/etc/web.yaml", Last: func() []plan.Config { return []plan.Config{last(t, "web", vips("10.77.0.100"))} }})
	f.fail("web.yaml", errors.New("no such file or directory"))
	f.look()
	f.check("without the file", "web/2 [10.77.0.100]")
}
