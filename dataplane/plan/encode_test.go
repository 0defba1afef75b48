// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"bytes"
	"strings"
	"testing"
)

// A field that is added to a content later changes no digest until it has another value than its default.
func TestDefaultsAreLeftOut(t *testing.T) {
	before, after := newEncoder("x"), newEncoder("x")
	for _, e := range []*encoder{before, after} {
		e.number(1, 7, 0)
	}
	after.number(2, 200, 200)
	after.flag(3, false)
	after.bytes(4, nil)
	after.addrs(5, nil)
	word(after, 6, "mode", "a", "a", "b")
	if !bytes.Equal(before.b, after.b) {
		t.Errorf("%x, with more fields %x", before.b, after.b)
	}
	after.flag(3, true)
	if bytes.Equal(before.b, after.b) {
		t.Error("a field that is set is left out")
	}
}

func TestEmptyElementsCount(t *testing.T) {
	one, two := newEncoder("x"), newEncoder("x")
	one.nested(1, func(*encoder) {})
	two.nested(1, func(*encoder) {})
	two.nested(1, func(*encoder) {})
	if bytes.Equal(one.b, two.b) {
		t.Error("a list of one and a list of two have the same content")
	}
}

func TestUnknownWordInAnElement(t *testing.T) {
	e := newEncoder("x")
	e.nested(1, func(e *encoder) { word(e, 1, "affinity", "c", "a", "b") })
	e.nested(1, func(*encoder) {})
	if _, err := e.sum(); err == nil || !strings.Contains(err.Error(), `affinity: "c"`) {
		t.Errorf("got %v", err)
	}
}
