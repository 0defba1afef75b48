// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	clusterResource = "loadbalancingclusters"
	hostResource    = "loadbalancinghosts"
)

// NewClient returns a client for the wlbs.dev group and nothing else: an agent needs
// two kinds, and the clients that know every type of Kubernetes cost tens of MiB.
func NewClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("scheme of %s: %w", v1alpha1.GroupVersion, err)
	}
	config = rest.CopyConfig(config)
	config.GroupVersion = &v1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.ContentType = runtime.ContentTypeJSON
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	if path := config.BearerTokenFile; path != "" {
		config.BearerToken, config.BearerTokenFile = "", ""
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &tokenFile{path, next} })
	}
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("API client: %w", err)
	}
	return client, nil
}

// tokenFile authenticates requests by the token in a file, as it is at that moment. A token dies with its
// ServiceAccount: client-go would go on with a cached one for a minute after the kubelet wrote that of a new one.
type tokenFile struct {
	path string
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *tokenFile) RoundTrip(request *http.Request) (*http.Response, error) {
	token, err := os.ReadFile(t.path)
	if err != nil {
		return nil, fmt.Errorf("token of the ServiceAccount: %w", err)
	}
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return t.next.RoundTrip(request)
}
