// SPDX-License-Identifier: Apache-2.0

package metricsauth_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/controllers/metricsauth"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

var server kubetest.Server

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

func TestFilter(t *testing.T) {
	config := server.Config(t)
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	reader, stranger := token(t, clients, "reader"), token(t, clients, "stranger")
	allow(t, clients, "reader")
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	filter, err := metricsauth.New(config, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := filter(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }))
	if err != nil {
		t.Fatal(err)
	}

	ask := func(method, path, authorization string) int {
		req := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, req)
		if answer.Code != http.StatusOK && answer.Body.String() == "secret" {
			t.Errorf("%s %s: code %d and yet the metrics", method, path, answer.Code)
		}
		return answer.Code
	}
	// The role takes effect a moment after it was bound.
	kubetest.Eventually(t, func() error {
		if ask(http.MethodGet, "/metrics", "Bearer "+reader) != http.StatusOK {
			return http.ErrNotSupported
		}
		return nil
	})
	for _, tc := range []struct {
		name, method, path, authorization string
		want                              int
	}{
		{"who may", http.MethodGet, "/metrics", "Bearer " + reader, http.StatusOK},
		{"other method", http.MethodPost, "/metrics", "Bearer " + reader, http.StatusForbidden},
		{"other path", http.MethodGet, "/debug", "Bearer " + reader, http.StatusForbidden},
		{"who may not", http.MethodGet, "/metrics", "Bearer " + stranger, http.StatusForbidden},
		{"nobody", http.MethodGet, "/metrics", "", http.StatusUnauthorized},
		{"no token", http.MethodGet, "/metrics", "Bearer ", http.StatusUnauthorized},
		{"other scheme", http.MethodGet, "/metrics", "Basic " + reader, http.StatusUnauthorized},
		{"forged token", http.MethodGet, "/metrics", "Bearer " + reader + "x", http.StatusUnauthorized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := ask(tc.method, tc.path, tc.authorization); got != tc.want {
				t.Errorf("code %d, want %d", got, tc.want)
			}
		})
	}
}

// token makes a ServiceAccount and returns a token of it.
func token(t *testing.T, clients kubernetes.Interface, name string) string {
	t.Helper()
	accounts := clients.CoreV1().ServiceAccounts(metav1.NamespaceDefault)
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	request, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

func allow(t *testing.T, clients kubernetes.Interface, account string) {
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "metrics-reader"},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}},
	}
	if _, err := clients.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "metrics-reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceDefault, Name: account}},
	}
	if _, err := clients.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
