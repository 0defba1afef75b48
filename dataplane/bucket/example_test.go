// SPDX-License-Identifier: Apache-2.0

package bucket_test

import (
	"fmt"
	"net/netip"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// A host accepts a client if the client's bucket is in its map. The affinity decides what of the client counts: with
// None each connection is placed on its own, with Single all connections of an address go to one bucket.
func ExampleOf() {
	own := bucket.Map(0).With(13).With(30)
	client := netip.MustParseAddr("10.0.0.1")
	for _, port := range []uint16{40000, 40001} {
		b := bucket.Of(client, port)
		fmt.Printf("None, port %d: bucket %d, accepted: %t\n", port, b, own.Has(b))
	}
	b := bucket.Of(client, 0)
	fmt.Printf("Single: bucket %d, accepted: %t\n", b, own.Has(b))
	// Output:
	// None, port 40000: bucket 30, accepted: true
	// None, port 40001: bucket 35, accepted: false
	// Single: bucket 13, accepted: true
}

func ExampleMap_Minus() {
	ours := bucket.All
	theirs := bucket.Map(0).With(0).With(1)
	ours = ours.Minus(theirs)
	fmt.Println(ours.Len(), ours.Has(1), ours)
	// Output: 58 false ffffffffffffffc
}
