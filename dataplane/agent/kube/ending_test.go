// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
)

// workload is an agent's pod and DaemonSet on the API server, both kept by a finalizer when they are deleted.
type workload struct {
	client.Client
	pod       *corev1.Pod
	daemonSet *appsv1.DaemonSet
	asked     *Pod
}

func newWorkload(t *testing.T, name string) *workload {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(server.Config(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	keep := []string{"test.wlbs.dev/keep"}
	labels := map[string]string{"app": name}
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "agent"}}}
	w := &workload{
		Client: c,
		pod:    &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name + "-x7k2p", Finalizers: keep}, Spec: spec},
		daemonSet: &appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Finalizers: keep},
			Spec: appsv1.DaemonSetSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
			},
		},
	}
	for _, o := range []client.Object{w.pod, w.daemonSet} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	api, err := NewClient(server.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	w.asked = &Pod{Client: api, Namespace: "default", Name: w.pod.Name, UID: string(w.pod.UID), DaemonSet: name}
	return w
}

func (w *workload) ends(t *testing.T, want host.Ending, words string) {
	t.Helper()
	if ending, why := w.asked.Ending(t.Context()); ending != want || !strings.Contains(why, words) {
		t.Errorf("Ending() = %d, %q; want %d, %q", ending, why, want, words)
	}
}

func (w *workload) delete(t *testing.T, o client.Object, gone bool) {
	t.Helper()
	if gone {
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		o.SetFinalizers(nil)
		if err := w.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.IgnoreNotFound(w.Delete(t.Context(), o, client.GracePeriodSeconds(0))); err != nil {
		t.Fatal(err)
	}
}

func TestEnding(t *testing.T) {
	w := newWorkload(t, "ending")
	w.ends(t, host.EndingShutdown, "the node shuts down") // nobody deleted the pod
	w.delete(t, w.pod, false)
	w.ends(t, host.EndingRestart, "is replaced")
	w.delete(t, w.daemonSet, false)
	w.ends(t, host.EndingRemoval, "DaemonSet default/ending were deleted")
	w.delete(t, w.daemonSet, true)
	w.ends(t, host.EndingRemoval, "DaemonSet default/ending were deleted")
}

// A pod that was removed by force is not there any more, or another has its name.
func TestEndingOfPodRemovedByForce(t *testing.T) {
	w := newWorkload(t, "forced")
	w.asked.UID = "another"
	w.ends(t, host.EndingRestart, "is replaced")
	w.delete(t, w.pod, true)
	w.ends(t, host.EndingRestart, "is replaced")
}

// Who cannot ask leaves, in time.
func TestEndingWithoutAnswer(t *testing.T) {
	refuse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"no","code":403}`))
	}))
	defer refuse.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	for name, url := range map[string]string{"forbidden": refuse.URL, "silent": silent.URL, "unreachable": "http://127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			api, err := NewClient(&rest.Config{Host: url})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			ending, why := (&Pod{Client: api, Namespace: "default", Name: "pod", UID: "1", DaemonSet: "agents"}).Ending(ctx)
			if ending != host.EndingShutdown || !strings.Contains(why, "cannot find out why") {
				t.Errorf("Ending() = %d, %q", ending, why)
			}
		})
	}
}

// The last words of an agent reach the API server although it is asked to end in the same moment.
func TestSinkWritesLastWords(t *testing.T) {
	c := newClient(t)
	_, host := create(t, c, "last", "10.77.2.100")
	api, err := NewClient(server.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	sink := NewSink(api, "node-a", logger(t))
	ctx, cancel := context.WithCancel(t.Context())
	sink.Report(reportOf("last", v1alpha1.HostStopped, 1))
	cancel()
	if err := sink.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(host), host); err != nil || host.Status.State != v1alpha1.HostStopped {
		t.Errorf("status is %+v, %v", host.Status, err)
	}
}
