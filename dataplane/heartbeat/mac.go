// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
)

// MACSize is the length in bytes of the authentication code at the end of a heartbeat.
const MACSize = 16

// ErrUnauthenticated means that the authentication code is not the one of the cluster's key.
var ErrUnauthenticated = errors.New("heartbeat fails authentication")

// Seal writes the authentication code of frame, an encoded heartbeat: HMAC-SHA-256 over all bytes before it, cut to MACSize bytes.
func Seal(frame, key []byte) error {
	if len(frame) != Size {
		return fmt.Errorf("%w: %d bytes of %d", ErrSize, len(frame), Size)
	}
	copy(frame[offMAC:], code(frame, key))
	return nil
}

// Verify checks the authentication code of a received frame. Replays are the receiver's to notice, by incarnation and sequence.
func Verify(frame, key []byte) error {
	if len(frame) < Size {
		return fmt.Errorf("%w: %d bytes of %d", ErrSize, len(frame), Size)
	}
	if !hmac.Equal(frame[offMAC:Size], code(frame, key)) {
		return ErrUnauthenticated
	}
	return nil
}

func code(frame, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(frame[:offMAC])
	return h.Sum(nil)[:MACSize]
}
