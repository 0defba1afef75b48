// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// fakeKernel holds things, with who made them, and counts how often it was asked to make or remove one.
type fakeKernel struct {
	mu      sync.Mutex
	present map[thing]string
	calls   []string
	broken  map[thing]bool
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{present: map[thing]string{}, broken: map[thing]bool{}}
}

func (k *fakeKernel) add(_ context.Context, things []thing) (added []thing, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range things {
		switch {
		case k.broken[t]:
			err = errors.Join(err, fmt.Errorf("add %v", t))
		case k.present[t] == "":
			k.present[t] = "us"
			k.calls = append(k.calls, fmt.Sprintf("add %d", t.kind))
			added = append(added, t)
		}
	}
	return added, err
}

func (k *fakeKernel) remove(_ context.Context, things []thing) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range things {
		switch {
		case k.broken[t]:
			err = errors.Join(err, fmt.Errorf("remove %v", t))
		case k.present[t] == "us" || k.present[t] != "" && t.kind == macFilter: // the kernel keeps no mark with these
			delete(k.present, t)
			k.calls = append(k.calls, fmt.Sprintf("remove %d", t.kind))
		}
	}
	return err
}

// of returns the things that somebody made.
func (k *fakeKernel) of(maker string) []thing {
	var out []thing
	for t, by := range k.present {
		if by == maker {
			out = append(out, t)
		}
	}
	return union(out, nil)
}

// exampleNeeds are those of one of three clusters: all have parts in common with the others.
func exampleNeeds(cluster int) Needs {
	vip := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(100 + i)}) }
	return Needs{
		Interface: Interface{Index: 2, Name: "eth0"},
		VIPs:      []netip.Addr{vip(cluster), vip(3), netip.MustParseAddr("fd00:77::100")},
		MACs:      []net.HardwareAddr{{3, 0xbf, 0, 0, 0, byte(cluster % 2)}},
		Groups:    []netip.Addr{netip.AddrFrom4([4]byte{239, 255, 0, byte(cluster / 2)})},
	}
}

// union of what the owners need, by brute force.
func unionOf(needs map[string]Needs) []thing {
	var all []thing
	for _, n := range needs {
		all = union(all, n.things())
	}
	return all
}

var equateThings = cmp.Options{cmp.AllowUnexported(thing{}), cmpopts.EquateComparable(netip.Addr{}),
	cmpopts.EquateEmpty()}

// TestAllOrdersOfThreeOwners wants and drops what three clusters need in each of the 90 orders.
func TestAllOrdersOfThreeOwners(t *testing.T) {
	orders := 0
	var try func(order []int)
	try = func(order []int) {
		if len(order) == 6 {
			orders++
			runOrder(t, order)
			return
		}
		for cluster := range 3 {
			if n := count(order, cluster); n < 2 {
				try(append(slices.Clone(order), cluster))
			}
		}
	}
	try(nil)
	if orders != 90 {
		t.Errorf("tried %d orders, want 90", orders)
	}
}

func count(order []int, cluster int) int {
	n := 0
	for _, c := range order {
		if c == cluster {
			n++
		}
	}
	return n
}

// runOrder wants what a cluster needs at its first place in the order, and drops it at its second.
func runOrder(t *testing.T, order []int) {
	t.Helper()
	k := newFakeKernel()
	c, needs := newClaims(k), map[string]Needs{}
	for i, cluster := range order {
		owner := fmt.Sprint("cluster-", cluster)
		var err error
		if count(order[:i], cluster) == 0 {
			needs[owner] = exampleNeeds(cluster)
			err = c.Want(t.Context(), owner, needs[owner])
		} else {
			delete(needs, owner)
			err = c.Drop(t.Context(), owner)
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(unionOf(needs), k.of("us"), equateThings); diff != "" {
			t.Fatalf("order %v, after step %d (-needed +there):\n%s", order, i, diff)
		}
	}
	if len(c.owners) > 0 || len(c.filters) > 0 {
		t.Errorf("order %v: remembers %v and %v of nobody", order, c.owners, c.filters)
	}
}

// TestClaimsProperty lets owners, strangers and faults act in any order. After a step without faults there is what is
// needed, and all that strangers made.
func TestClaimsProperty(t *testing.T) {
	owners := []string{"a", "b", "c"}
	all := unionOf(map[string]Needs{"a": exampleNeeds(0), "b": exampleNeeds(1), "c": exampleNeeds(2)})
	rapid.Check(t, func(t *rapid.T) {
		k := newFakeKernel()
		c, needs := newClaims(k), map[string]Needs{}
		for _, owner := range owners[:rapid.IntRange(0, 3).Draw(t, "owners of an earlier agent")] {
			needs[owner] = drawNeeds(t)
			c.Register(owner, needs[owner])
		}
		for _, thing := range unionOf(needs) {
			if rapid.Bool().Draw(t, "there still") {
				k.present[thing] = "us"
			}
		}
		stranger := map[thing]bool{}
		act := func(owner string) error {
			switch rapid.IntRange(0, 2).Draw(t, "do") {
			case 0:
				delete(needs, owner)
				return c.Drop(t.Context(), owner)
			case 1:
				needs[owner] = drawNeeds(t)
				return c.Want(t.Context(), owner, needs[owner])
			default:
				more := drawNeeds(t)
				before := needs[owner]
				needs[owner] = Needs{
					Interface: more.Interface, VIPs: slices.Concat(before.VIPs, more.VIPs),
					MACs: slices.Concat(before.MACs, more.MACs), Groups: slices.Concat(before.Groups, more.Groups),
				}
				return c.Add(t.Context(), owner, more)
			}
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			for _, thing := range rapid.SliceOfN(rapid.SampledFrom(all), 0, 2).Draw(t, "stranger's") {
				// A MAC filter that a stranger puts in the place of ours, nobody can tell from ours.
				if k.present[thing] == "" && !slices.Contains(unionOf(needs), thing) && !c.filters[thing] {
					k.present[thing], stranger[thing] = "stranger", true
				}
			}
			for _, thing := range rapid.SliceOfN(rapid.SampledFrom(all), 0, 2).Draw(t, "taken away by a stranger") {
				delete(k.present, thing)
				delete(stranger, thing)
			}
			k.broken = map[thing]bool{}
			for _, thing := range rapid.SliceOfN(rapid.SampledFrom(all), 0, 2).Draw(t, "broken") {
				k.broken[thing] = true
			}
			_ = act(rapid.SampledFrom(owners).Draw(t, "owner"))
			for thing := range stranger {
				if k.present[thing] != "stranger" {
					t.Fatalf("%v of a stranger is gone", thing)
				}
			}
		}
		k.broken = nil
		for _, owner := range owners {
			var err error
			if n, wants := needs[owner]; wants {
				err = c.Want(t.Context(), owner, n)
			} else {
				err = c.Drop(t.Context(), owner)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		there := slices.Collect(maps.Keys(k.present))
		want := union(unionOf(needs), slices.Collect(maps.Keys(stranger)))
		if diff := cmp.Diff(want, union(there, nil), equateThings); diff != "" {
			t.Errorf("(-needed or stranger's +there):\n%s", diff)
		}
	})
}

func drawNeeds(t *rapid.T) Needs { return exampleNeeds(rapid.IntRange(0, 2).Draw(t, "needs")) }

// TestRegisterTouchesNothing: an agent that starts knows all who need a thing before it takes one away.
func TestRegisterTouchesNothing(t *testing.T) {
	k := newFakeKernel()
	c := newClaims(k)
	for cluster := range 3 {
		c.Register(fmt.Sprint(cluster), exampleNeeds(cluster))
	}
	if len(k.calls) > 0 {
		t.Errorf("registering did %v", k.calls)
	}
	for _, thing := range unionOf(map[string]Needs{"0": exampleNeeds(0), "1": exampleNeeds(1), "2": exampleNeeds(2)}) {
		k.present[thing] = "us"
	}
	if err := c.Drop(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	want := unionOf(map[string]Needs{"0": exampleNeeds(0), "2": exampleNeeds(2)})
	if diff := cmp.Diff(want, k.of("us"), equateThings); diff != "" {
		t.Errorf("(-needed +there):\n%s", diff)
	}
}

// TestVirtualIPsComeLastAndGoFirst: lo has them only while the interface takes their frames.
func TestVirtualIPsComeLastAndGoFirst(t *testing.T) {
	k := newFakeKernel()
	c := newClaims(k)
	if err := errors.Join(c.Want(t.Context(), "a", exampleNeeds(0)), c.Drop(t.Context(), "a")); err != nil {
		t.Fatal(err)
	}
	added, removed := k.calls[:len(k.calls)/2], k.calls[len(k.calls)/2:]
	vip := fmt.Sprint(int(localAddress))
	if last := added[len(added)-1]; last != "add "+vip || removed[0] != "remove "+vip {
		t.Errorf("did %v", k.calls)
	}
}

// TestErrorsNameWhatFailed: the rest is done, and the next call tries again.
func TestErrorsNameWhatFailed(t *testing.T) {
	k := newFakeKernel()
	c := newClaims(k)
	needs := exampleNeeds(0)
	bad := needs.things()[0]
	k.broken[bad] = true
	err := c.Want(t.Context(), "a", needs)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(bad)) {
		t.Errorf("error %v, want one that names %v", err, bad)
	}
	if got, want := len(k.of("us")), len(needs.things())-1; got != want {
		t.Errorf("%d things are there, want %d", got, want)
	}
	delete(k.broken, bad)
	if err := c.Want(t.Context(), "a", needs); err != nil || k.present[bad] == "" {
		t.Errorf("second try: error %v, there: %q", err, k.present[bad])
	}
	k.broken[bad] = true
	if err := c.Drop(t.Context(), "a"); err == nil {
		t.Error("drop: no error")
	}
	delete(k.broken, bad)
	if err := c.Drop(t.Context(), "a"); err != nil || len(k.present) > 0 || len(c.owners) > 0 {
		t.Errorf("second drop: error %v, left %v, owners %v", err, k.present, c.owners)
	}
}

func TestClaimsFromManyGoroutines(t *testing.T) {
	k := newFakeKernel()
	c := newClaims(k)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				if err := errors.Join(c.Want(t.Context(), fmt.Sprint(i), exampleNeeds(i%3)),
					c.Drop(t.Context(), fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(k.present) > 0 {
		t.Errorf("left: %v", k.present)
	}
}
