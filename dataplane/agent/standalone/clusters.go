// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone/schema"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// RemovalGrace is how long the file of a cluster must be gone, while its directory can be read, before the cluster is:
// some editors and tools remove a file and write it anew.
const RemovalGrace = 10 * time.Second

// cluster is one that is in force.
type cluster struct {
	// config is what the file said when it was whole and valid last.
	config *v1alpha1.LoadBalancingCluster
	// file is the one that it is from, "" as long as that is not known: it was in force when the last agent ended.
	file string
	// marked says that the file ended with the marker for the end of a document.
	marked bool
	// goneAt is when the file was gone first, the zero time while it is there.
	goneAt time.Time
}

// clusters are those in force, in order of precedence. It decides what becomes of them by what is in the files.
type clusters struct {
	validator *schema.Validator
	// single says that all comes from one file, which holds one cluster and never removes it.
	single  bool
	inForce []*cluster
	// changed says that another cluster or config is in force than at the last look.
	changed bool
	// documents are the files that were decoded, checked what was found out about them last.
	documents map[string]*document
}

// document is a file that is whole.
type document struct {
	content []byte
	decoded *schema.Document
	err     error // it cannot be decoded

	// checked says that the document was checked as a change of before, with the result in failure.
	checked bool
	before  *v1alpha1.LoadBalancingCluster
	failure error
}

// newClusters begins with those that were in force when the last agent ended.
func newClusters(validator *schema.Validator, single bool, last []plan.Config) *clusters {
	c := &clusters{validator: validator, single: single, documents: map[string]*document{}}
	for _, config := range last {
		if config.Cluster != nil {
			c.inForce = append(c.inForce, &cluster{config: config.Cluster})
		}
	}
	return c
}

// update takes a look at the files. It returns what is wrong, by file; the key "" is about the directory.
func (c *clusters) update(ctx context.Context, l look, now time.Time) map[string]error {
	if l.err != nil {
		for _, known := range c.inForce { // nobody knows whether their files are gone
			known.goneAt = time.Time{}
		}
		return map[string]error{"": l.err}
	}
	c.decode(l)
	c.changed = false
	faults := map[string]error{}
	for _, f := range l.files {
		if err := c.take(ctx, f); err != nil {
			faults[f.name] = err
		}
	}
	c.removeGone(l, now, faults)
	return faults
}

// decode decodes what is new in the files, and forgets those that are gone.
func (c *clusters) decode(l look) {
	for name := range c.documents {
		if !slices.ContainsFunc(l.files, func(f found) bool { return f.name == name }) {
			delete(c.documents, name)
		}
	}
	for _, f := range l.files {
		if f.settling || f.err != nil {
			continue
		}
		if d := c.documents[f.name]; d == nil || !sameSlice(d.content, f.content) {
			d = &document{content: f.content}
			d.decoded, d.err = c.validator.Decode(f.content)
			c.documents[f.name] = d
		}
	}
}

func sameSlice(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// take puts in force what a file says, or says why not: then nothing changes.
func (c *clusters) take(ctx context.Context, f found) error {
	if f.settling {
		return nil
	}
	if f.err != nil {
		return f.err
	}
	d := c.documents[f.name]
	if d.err != nil {
		return d.err
	}
	owner, err := c.ownerOf(f.name, d.decoded.Name())
	if err != nil {
		return err
	}
	if owner != nil && owner.marked && !hasEndMarker(f.content) {
		return fmt.Errorf("does not end with %q any more: it may be cut short; end it so", endMarker)
	}
	var before *v1alpha1.LoadBalancingCluster
	if owner != nil {
		before = owner.config
	}
	var config *v1alpha1.LoadBalancingCluster
	if !d.checked || d.before != before {
		config, d.failure = c.validator.Check(ctx, d.decoded, before)
		d.checked, d.before = true, before
	}
	if d.failure != nil {
		if owner != nil && owner.file == "" {
			owner.file = f.name
		}
		return d.failure
	}
	if owner == nil {
		owner = &cluster{}
		c.inForce = append(c.inForce, owner)
	}
	owner.file, owner.marked, owner.goneAt = f.name, hasEndMarker(f.content), time.Time{}
	if config != nil {
		c.changed = owner.take(config) || c.changed
		d.before = owner.config
	}
	return nil
}

// take puts a config in force, under a new generation, and reports whether it is another one.
func (k *cluster) take(config *v1alpha1.LoadBalancingCluster) bool {
	config.Generation = 1
	if k.config != nil {
		if reflect.DeepEqual(k.config.Spec, config.Spec) {
			return false
		}
		config.Generation = k.config.Generation + 1
	}
	k.config = config
	return true
}

// ownerOf returns the cluster in force that a file is about, nil for a new one. It refuses a file whose cluster another
// file has.
func (c *clusters) ownerOf(file, name string) (*cluster, error) {
	at := slices.IndexFunc(c.inForce, func(k *cluster) bool { return k.config.Name == name })
	if at < 0 {
		if c.single && len(c.inForce) > 0 {
			return nil, fmt.Errorf("metadata.name: cluster %s is in force from this file, and %s would be another one: restore the name, or remove the cluster first",
				c.inForce[0].config.Name, name)
		}
		return nil, nil
	}
	owner := c.inForce[at]
	if owner.file != "" && owner.file != file && c.isIn(owner.file, name) {
		return nil, fmt.Errorf("metadata.name: cluster %s is in force from %s: remove one of the two files, or give the cluster another name", name, owner.file)
	}
	return owner, nil
}

// isIn reports whether a file says that it is about a cluster, or is there without saying anything.
func (c *clusters) isIn(file, name string) bool {
	d := c.documents[file]
	return d != nil && (d.err != nil || d.decoded.Name() == name)
}

// removeGone removes the clusters whose files have been gone for long enough, and says of the others that are gone what
// is to come.
func (c *clusters) removeGone(l look, now time.Time, faults map[string]error) {
	if c.single {
		return
	}
	c.inForce = slices.DeleteFunc(c.inForce, func(k *cluster) bool {
		if c.mayBeThere(k, l) {
			k.goneAt = time.Time{}
			return false
		}
		if k.goneAt.IsZero() {
			k.goneAt = now
		}
		if now.Sub(k.goneAt) >= RemovalGrace {
			c.changed = true
			return true
		}
		faults[""] = errors.Join(faults[""],
			fmt.Errorf("no file has cluster %s any more, which will be removed if that lasts %s", k.config.Name, RemovalGrace))
		return false
	})
}

// mayBeThere reports whether some file is the cluster's, or may be: one that is not whole may be anybody's who has
// none.
func (c *clusters) mayBeThere(k *cluster, l look) bool {
	return slices.ContainsFunc(l.files, func(f found) bool {
		d := c.documents[f.name]
		whole := !f.settling && f.err == nil && d != nil && d.err == nil
		if whole {
			return d.decoded.Name() == k.config.Name
		}
		return f.name == k.file || !slices.ContainsFunc(c.inForce, func(other *cluster) bool { return other.file == f.name })
	})
}
