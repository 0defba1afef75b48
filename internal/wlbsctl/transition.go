// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"

// verb is a control command about a whole host.
type verb string

// The control commands of WLBS.
const (
	verbStart     verb = "start"
	verbStop      verb = "stop"
	verbDrainstop verb = "drainstop"
	verbSuspend   verb = "suspend"
	verbResume    verb = "resume"
)

// outcome is what a control command does to one host.
type outcome struct {
	// state is the desired state after the command.
	state v1alpha1.DesiredState
	// words say it. They are chosen together with the state, so that they cannot contradict it: Microsoft KB Q247712.
	words string
	// refused is set when the host is suspended: nothing but resume changes that.
	refused bool
}

// Words of the outcomes. Those with a number are of the events 5, 6, 44 and 45 of WLBS.
const (
	wordsStarted          = "cluster mode started" // 5
	wordsAlreadyStarted   = "cluster mode already started"
	wordsStopped          = "cluster mode stopped" // 6
	wordsAlreadyStopped   = "cluster mode already stopped"
	wordsDraining         = "connection draining started" // 44
	wordsAlreadyDraining  = "connection draining already started"
	wordsInterrupted      = "connection draining interrupted, " // 45
	wordsSuspended        = "cluster control suspended"
	wordsAlreadySuspended = "cluster control already suspended"
	wordsResumed          = "cluster control resumed, cluster mode stays stopped"
	wordsNotSuspended     = "cluster control is not suspended"
	wordsRefused          = "command refused: cluster control is suspended, resume the host first"
)

// transition is the whole semantics of the control commands: start also ends a drain, stop leaves at once, drainstop
// finishes connections first, suspend stops and refuses control until resume, and resume leaves the host stopped.
// drainOver says that a Drained host's connections have ended, so that it is as good as stopped.
func transition(state v1alpha1.DesiredState, drainOver bool, v verb) outcome {
	suspended := state == v1alpha1.DesiredStateSuspended
	draining := state == v1alpha1.DesiredStateDrained && !drainOver
	stopped := state == v1alpha1.DesiredStateStopped || state == v1alpha1.DesiredStateDrained && drainOver
	interrupted := ""
	if draining {
		interrupted = wordsInterrupted
	}
	switch {
	case v == verbResume && suspended:
		return outcome{state: v1alpha1.DesiredStateStopped, words: wordsResumed}
	case v == verbResume:
		return outcome{state: state, words: wordsNotSuspended}
	case v == verbSuspend && suspended:
		return outcome{state: state, words: wordsAlreadySuspended}
	case v == verbSuspend && stopped:
		return outcome{state: v1alpha1.DesiredStateSuspended, words: wordsSuspended}
	case v == verbSuspend:
		return outcome{state: v1alpha1.DesiredStateSuspended, words: interrupted + wordsStopped + ", " + wordsSuspended}
	case suspended:
		return outcome{state: state, words: wordsRefused, refused: true}
	case v == verbStart && (draining || stopped):
		return outcome{state: v1alpha1.DesiredStateStarted, words: interrupted + wordsStarted}
	case v == verbStart:
		return outcome{state: v1alpha1.DesiredStateStarted, words: wordsAlreadyStarted}
	case v == verbStop && stopped:
		return outcome{state: v1alpha1.DesiredStateStopped, words: wordsAlreadyStopped}
	case v == verbStop:
		return outcome{state: v1alpha1.DesiredStateStopped, words: interrupted + wordsStopped}
	case draining: // drainstop from here on
		return outcome{state: state, words: wordsAlreadyDraining}
	case stopped:
		return outcome{state: state, words: wordsAlreadyStopped}
	}
	return outcome{state: v1alpha1.DesiredStateDrained, words: wordsDraining}
}
