// SPDX-License-Identifier: Apache-2.0

package top

import (
	"context"
	"io"
)

type key int

const (
	keyOther key = iota
	keyQuit
	keyUp
	keyDown
	keyPageUp
	keyPageDown
	keyNext
)

// sequences are what terminals in raw mode send.
var sequences = map[string]key{
	"q": keyQuit, "Q": keyQuit, "\x03": keyQuit, "\x04": keyQuit,
	"k": keyUp, "\x1b[A": keyUp, "\x1bOA": keyUp,
	"j": keyDown, "\x1b[B": keyDown, "\x1bOB": keyDown,
	"\x1b[5~": keyPageUp, "\x02": keyPageUp,
	"\x1b[6~": keyPageDown, " ": keyPageDown, "\x06": keyPageDown,
	"\t": keyNext, "n": keyNext,
}

// readKeys sends keys until the input ends, and closes keys then.
func readKeys(ctx context.Context, in io.Reader, keys chan<- key) {
	defer close(keys)
	buffer := make([]byte, 64)
	for {
		n, err := in.Read(buffer)
		for _, k := range parseKeys(string(buffer[:n])) {
			select {
			case keys <- k:
			case <-ctx.Done():
				return
			}
		}
		if err != nil || ctx.Err() != nil {
			return
		}
	}
}

// parseKeys splits what was read at once. A terminal sends an escape sequence in one piece.
func parseKeys(input string) []key {
	var keys []key
	for input != "" {
		n := 1
		if input[0] == 0x1b {
			n = escapeLength(input)
		}
		if k := sequences[input[:n]]; k != keyOther {
			keys = append(keys, k)
		}
		input = input[n:]
	}
	return keys
}

// escapeLength is the length of the escape sequence that input begins with: ESC [ or ESC O, parameters, a final byte.
func escapeLength(input string) int {
	if len(input) < 2 || input[1] != '[' && input[1] != 'O' {
		return 1
	}
	for i := 2; i < len(input); i++ {
		if input[i] >= 0x40 && input[i] <= 0x7e {
			return i + 1
		}
	}
	return len(input)
}
