// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

var allVerbs = []verb{verbStart, verbStop, verbDrainstop, verbSuspend, verbResume}

const (
	started   = v1alpha1.DesiredStateStarted
	stopped   = v1alpha1.DesiredStateStopped
	drained   = v1alpha1.DesiredStateDrained
	suspended = v1alpha1.DesiredStateSuspended
)

// Microsoft KB Q247712, all pairs, from a started host. The states are written down here from the documentation of the
// commands, not computed: start ends a drain, nothing but resume ends a suspension, and resume leaves the host stopped.
func TestQ247712Pairs(t *testing.T) {
	want := map[verb]map[verb]v1alpha1.DesiredState{
		verbStart: {verbStart: started, verbStop: stopped, verbDrainstop: drained, verbSuspend: suspended,
			verbResume: started},
		verbStop: {verbStart: started, verbStop: stopped, verbDrainstop: stopped, verbSuspend: suspended,
			verbResume: stopped},
		verbDrainstop: {verbStart: started, verbStop: stopped, verbDrainstop: drained, verbSuspend: suspended,
			verbResume: drained},
		verbSuspend: {verbStart: suspended, verbStop: suspended, verbDrainstop: suspended, verbSuspend: suspended,
			verbResume: stopped},
		verbResume: {verbStart: started, verbStop: stopped, verbDrainstop: drained, verbSuspend: suspended,
			verbResume: started},
	}
	for _, first := range allVerbs {
		for _, second := range allVerbs {
			after := transition(transition(started, false, first).state, false, second)
			if after.state != want[first][second] {
				t.Errorf("%s, %s: %s, want %s", first, second, after.state, want[first][second])
			}
		}
	}
}

// Microsoft KB Q247712: WLBS printed "draining stopped" for "suspended" and the like. Here the words of an outcome must
// name the state it leads to, whatever the state before.
func TestQ247712WordsNameTheState(t *testing.T) {
	names := map[v1alpha1.DesiredState][]string{
		started:   {wordsStarted, wordsAlreadyStarted},
		stopped:   {wordsStopped, wordsAlreadyStopped, wordsResumed},
		drained:   {wordsDraining, wordsAlreadyDraining},
		suspended: {wordsSuspended, wordsAlreadySuspended, wordsRefused},
	}
	for before := range names {
		for _, v := range allVerbs {
			for _, over := range []bool{false, true} {
				o := transition(before, over, v)
				if o.words == wordsNotSuspended {
					if v != verbResume || o.state != before {
						t.Errorf("%s in %s: %q and state %s", v, before, o.words, o.state)
					}
					continue
				}
				named := false
				for _, w := range names[o.state] {
					named = named || strings.HasSuffix(o.words, w)
				}
				// A drain that is over is a stopped host by another name.
				named = named || over && o.state == drained && o.words == wordsAlreadyStopped
				if !named {
					t.Errorf("%s in %s leads to %s and says %q", v, before, o.state, o.words)
				}
			}
		}
	}
}

func TestTransitionWords(t *testing.T) {
	for name, test := range map[string]struct {
		before v1alpha1.DesiredState
		over   bool
		verb   verb
		want   string
	}{
		"a drain is interrupted by start":  {drained, false, verbStart, wordsInterrupted + wordsStarted},
		"a drain is interrupted by stop":   {drained, false, verbStop, wordsInterrupted + wordsStopped},
		"a drain that is over is not":      {drained, true, verbStart, wordsStarted},
		"stop after a drain that is over":  {drained, true, verbStop, wordsAlreadyStopped},
		"suspend says that it stopped":     {started, false, verbSuspend, wordsStopped + ", " + wordsSuspended},
		"suspend of a stopped host":        {stopped, false, verbSuspend, wordsSuspended},
		"a suspended host refuses":         {suspended, false, verbStart, wordsRefused},
		"resume of a host that is started": {started, false, verbResume, wordsNotSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			if got := transition(test.before, test.over, test.verb).words; got != test.want {
				t.Errorf("transition() says %q, want %q", got, test.want)
			}
		})
	}
}

func TestOnlyResumeEndsSuspension(t *testing.T) {
	for _, v := range allVerbs {
		o := transition(suspended, false, v)
		if refused := v != verbResume && v != verbSuspend; o.refused != refused {
			t.Errorf("%s on a suspended host: refused is %v, want %v", v, o.refused, refused)
		}
	}
}
