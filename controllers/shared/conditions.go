// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConditionOf returns the condition of that type, or nil.
func ConditionOf(conditions []metav1.Condition, conditionType string) *metav1.Condition {
	for i := range conditions {
		if conditions[i].Type == conditionType {
			return &conditions[i]
		}
	}
	return nil
}

// MaxConditionMessage is the length the API server accepts.
const MaxConditionMessage = 32768

// NextCondition completes a condition: the transition time moves only when the status does.
func NextCondition(previous *metav1.Condition, next metav1.Condition, now time.Time) metav1.Condition {
	next.Message = Truncate(next.Message, MaxConditionMessage)
	next.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	if previous != nil && previous.Status == next.Status {
		next.LastTransitionTime = previous.LastTransitionTime
	}
	return next
}

// Truncate shortens a text to at most limit bytes, at the border of a character.
func Truncate(text string, limit int) string {
	const more = "..."
	if len(text) <= limit {
		return text
	}
	cut := limit - len(more)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strings.TrimSpace(text[:cut]) + more
}
