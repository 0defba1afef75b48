// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/reference"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// eventBurst is how many changes of one kind about one object become Events of their own, each with its note.
	eventBurst = 10
	// eventRefill is how soon, in Events a second, there is another one. Beyond it they count in a series.
	eventRefill = 1.0 / 360
	// eventKinds bounds the memory for that.
	eventKinds = 4096
)

// Recorder keeps Events from becoming a storm (Microsoft KB Q247719). client-go counts repeated Events in a series
// instead of writing new ones, but takes only those for repeated that are about one resourceVersion, which every status
// makes anew. So the first few changes get an Event each, and what comes faster is an Event about no resourceVersion.
type Recorder struct {
	events.EventRecorder
	scheme *runtime.Scheme

	mu    sync.Mutex
	kinds map[eventKind]flowcontrol.PassiveRateLimiter
}

type eventKind struct {
	regarding, related types.UID
	reason             string
}

// NewRecorder returns a Recorder that writes by another one. The scheme knows the kinds of all objects that Events are
// about.
func NewRecorder(recorder events.EventRecorder, scheme *runtime.Scheme) *Recorder {
	return &Recorder{EventRecorder: recorder, scheme: scheme}
}

// Eventf implements events.EventRecorder.
func (r *Recorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	about, err := reference.GetReference(r.scheme, regarding)
	if err != nil {
		r.EventRecorder.Eventf(regarding, related, eventType, reason, action, note, args...)
		return
	}
	kind := eventKind{regarding: about.UID, reason: reason}
	var with *corev1.ObjectReference
	if related != nil {
		if with, err = reference.GetReference(r.scheme, related); err == nil {
			kind.related = with.UID
		}
	}
	if !r.allows(kind) {
		about.ResourceVersion = ""
	}
	if with == nil {
		r.EventRecorder.Eventf(about, nil, eventType, reason, action, note, args...)
		return
	}
	with.ResourceVersion = ""
	r.EventRecorder.Eventf(about, with, eventType, reason, action, note, args...)
}

func (r *Recorder) allows(kind eventKind) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit, known := r.kinds[kind]
	if !known {
		if r.kinds == nil || len(r.kinds) >= eventKinds {
			r.kinds = map[eventKind]flowcontrol.PassiveRateLimiter{}
		}
		limit = flowcontrol.NewTokenBucketPassiveRateLimiter(eventRefill, eventBurst)
		r.kinds[kind] = limit
	}
	return limit.TryAccept()
}
