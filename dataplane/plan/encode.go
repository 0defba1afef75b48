// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// encoder writes what a digest is taken of: a list of fields, each with a tag of its own, in ascending order. It is
// part of the wire contract (docs/design/wire.md), so nothing here may change. A field whose value is its default is
// left out.
//
//	field = tag, value        both as unsigned varints (encoding/binary), or
//	field = tag, length, bytes
//
// Which of the two, the tag says: it is the field's number times two, plus one where bytes follow.
type encoder struct {
	b   []byte
	err error
}

// newEncoder starts with what the digest is of, so that no two kinds of content are ever the same.
func newEncoder(content string) *encoder { return &encoder{b: append([]byte(content), 0)} }

// number writes a number.
func (e *encoder) number(field uint64, value, otherwise uint64) {
	if value != otherwise {
		e.b = binary.AppendUvarint(binary.AppendUvarint(e.b, field<<1), value)
	}
}

// flag writes a yes or no whose default is no.
func (e *encoder) flag(field uint64, value bool) {
	if value {
		e.number(field, 1, 0)
	}
}

// word writes which of the known words a value is, by its place among them; the first one is the default. A word that
// is not known makes the digest impossible: a later version has given it a meaning. name is the field's, for the error.
func word[T ~string](e *encoder, field uint64, name string, value T, known ...T) {
	place := slices.Index(known, value)
	if place < 0 {
		e.err = fmt.Errorf("%s: %q is not known to this version, which knows %q", name, value, known)
		return
	}
	e.number(field, uint64(place), 0)
}

// bytes writes bytes whose default is none.
func (e *encoder) bytes(field uint64, value []byte) {
	if len(value) > 0 {
		e.element(field, value)
	}
}

// element writes an element of a list, also an empty one.
func (e *encoder) element(field uint64, value []byte) {
	e.b = binary.AppendUvarint(e.b, field<<1|1)
	e.b = append(binary.AppendUvarint(e.b, uint64(len(value))), value...)
}

// addrs writes a list of addresses, 4 or 16 bytes each.
func (e *encoder) addrs(field uint64, list []netip.Addr) {
	for _, a := range list {
		e.element(field, a.AsSlice())
	}
}

// nested writes an element of a list that has fields itself.
func (e *encoder) nested(field uint64, write func(*encoder)) {
	var inner encoder
	write(&inner)
	e.element(field, inner.b)
	if e.err == nil {
		e.err = inner.err
	}
}

// sum returns the digest: the first 8 bytes of the SHA-256, as a big-endian number. It is never 0, which stands for
// none.
func (e *encoder) sum() (uint64, error) {
	sum := sha256.Sum256(e.b)
	return max(binary.BigEndian.Uint64(sum[:]), 1), e.err
}
