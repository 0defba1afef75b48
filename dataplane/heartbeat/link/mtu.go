// SPDX-License-Identifier: Apache-2.0

package link

import "fmt"

// MTUError says that an interface cannot carry a heartbeat, with both numbers.
type MTUError struct {
	// Interface is the interface's name.
	Interface string
	// MTU of the interface and the payload that has to fit into it, in bytes.
	MTU, Need int
}

func (e *MTUError) Error() string {
	return fmt.Sprintf("interface %s has MTU %d, heartbeats need %d", e.Interface, e.MTU, e.Need)
}

// CheckMTU returns an *MTUError if a payload of need bytes does not fit into one frame of the
// interface. Heartbeats are no IP packets: nothing fragments them on the way.
func CheckMTU(name string, mtu, need int) error {
	if mtu < need {
		return &MTUError{Interface: name, MTU: mtu, Need: need}
	}
	return nil
}
