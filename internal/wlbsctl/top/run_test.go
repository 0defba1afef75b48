// SPDX-License-Identifier: Apache-2.0

package top

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
)

func TestParseKeys(t *testing.T) {
	for input, want := range map[string][]key{
		"q":              {keyQuit},
		"\x03":           {keyQuit},
		"jk":             {keyDown, keyUp},
		"\x1b[A\x1b[B":   {keyUp, keyDown},
		"\x1bOA":         {keyUp},
		"\x1b[5~\x1b[6~": {keyPageUp, keyPageDown},
		"\t":             {keyNext},
		"\x1b[1;5A":      nil, // ctrl-up
		"\x1b":           nil,
		"\x1b[":          nil,
		"x":              nil,
		"xq":             {keyQuit},
	} {
		if got := parseKeys(input); !slices.Equal(got, want) {
			t.Errorf("parseKeys(%q) = %v, want %v", input, got, want)
		}
	}
}

// screen is an output that tests look at while a program writes.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *screen) await(t *testing.T, what string) {
	t.Helper()
	eventually.Must(t, 30*time.Second, "the screen shows "+what, func(context.Context) error {
		if shown := s.String(); !strings.Contains(shown, what) {
			return fmt.Errorf("it shows %q", shown)
		}
		return nil
	})
}

func TestProgram(t *testing.T) {
	var out screen
	keys, press := io.Pipe()
	var mu sync.Mutex
	width := 80
	var failure error
	p := &Program{
		Source: func(context.Context) (Snapshot, error) {
			mu.Lock()
			defer mu.Unlock()
			return troubled().Snapshot, failure
		},
		Interval: 5 * time.Millisecond, Keys: keys, Out: &out, Palette: Monochrome, Now: func() time.Time { return noon },
		Size: func() (int, int) {
			mu.Lock()
			defer mu.Unlock()
			return width, 24
		},
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context()) }()
	send := func(keys string) {
		t.Helper()
		if _, err := io.WriteString(press, keys); err != nil {
			t.Fatal(err)
		}
	}
	out.await(t, " web  172.18.0.100")
	send("\t")
	out.await(t, " database  172.18.0.100")
	mu.Lock()
	width = 100
	mu.Unlock()
	out.await(t, strings.Repeat(" ", 100-len(" database  172.18.0.100 fd00:172:18::100  Multicast")-9)+"12:00:00")
	mu.Lock()
	failure = errors.New("the API server is gone")
	mu.Unlock()
	out.await(t, "the API server is gone")
	send("q")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := out.String(); !strings.HasPrefix(s, enterScreen) || !strings.HasSuffix(s, leaveScreen) {
		t.Errorf("the terminal was not entered and left: %q ... %q", s[:20], s[len(s)-20:])
	}
}

func TestProgramEndsWithItsInput(t *testing.T) {
	p := &Program{
		Source:   func(context.Context) (Snapshot, error) { return Snapshot{}, nil },
		Interval: time.Second, Keys: strings.NewReader(""), Out: io.Discard, Now: time.Now,
		Size: func() (int, int) { return 80, 24 },
	}
	if err := p.Run(t.Context()); err != nil {
		t.Error(err)
	}
}
