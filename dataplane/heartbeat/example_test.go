// SPDX-License-Identifier: Apache-2.0

package heartbeat_test

import (
	"errors"
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// A heartbeat holds the sender's whole state. What comes from the wire is checked: anybody can send a frame.
func ExampleUnmarshal() {
	sent := heartbeat.Message{HostID: 2, ClusterIP: [4]byte{192, 0, 2, 100}}
	sent.Ready[0] = bucket.All
	sent.Incarnation, sent.Sequence = 1, 7
	sent.Heard = heartbeat.SetOf(1, 3)
	payload := sent.AppendTo(nil)

	received, err := heartbeat.Unmarshal(payload)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d bytes from host %d: accepts %d buckets of slot 0, hears host 1: %t\n",
		len(payload), received.HostID, received.Ready[0].Len(), received.Heard.Has(1))

	_, err = heartbeat.Unmarshal(payload[:100])
	fmt.Println(errors.Is(err, heartbeat.ErrSize))
	// Output:
	// 1496 bytes from host 2: accepts 60 buckets of slot 0, hears host 1: true
	// true
}
