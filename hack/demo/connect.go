// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// connect makes connections to the virtual IP, one after the other, and prints
// which node answered how many.
func (d demo) connect(ctx context.Context, count int) error {
	d.say("%d connections from this machine to http://%s/", count, d.vip)
	client := &http.Client{
		Timeout: 3 * time.Second,
		// Each request is to be a connection of its own, from a port of its own.
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	start := time.Now()
	answers := map[string]int{}
	failures := map[string]int{}
	for range count {
		node, err := ask(ctx, client, d.vip)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failures[cause(err)]++
			continue
		}
		answers[node]++
	}
	took := time.Since(start)
	for _, node := range slices.Sorted(maps.Keys(answers)) {
		n := answers[node]
		fmt.Fprintf(d.out, "  %-24s %4d  %s\n", node, n, strings.Repeat("#", (60*n+count-1)/count))
	}
	for _, why := range slices.Sorted(maps.Keys(failures)) {
		fmt.Fprintf(d.out, "  failed: %-16s %4d\n", why, failures[why])
	}
	fmt.Fprintf(d.out, "  in %.2f s\n", took.Seconds())
	if len(failures) > 0 {
		return errors.New("connections to the virtual IP failed")
	}
	if len(answers) != len(d.workers) {
		return fmt.Errorf("%d of %d workers answered", len(answers), len(d.workers))
	}
	return nil
}

// ask makes one connection and returns the name of the node that answered.
func ask(ctx context.Context, client *http.Client, vip netip.Addr) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+vip.String()+"/", http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", errors.New(response.Status)
	}
	return strings.TrimSpace(string(body)), nil
}

// cause is the innermost error, which has no port in it by which every failure
// would be of a kind of its own.
func cause(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err.Error()
}
