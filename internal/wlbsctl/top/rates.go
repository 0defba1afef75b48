// SPDX-License-Identifier: Apache-2.0

package top

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// minRateWindow is the shortest time over which a rate is computed. Agents report news at once, and else every 30 s at
// most, so two reports may be very close to each other.
const minRateWindow = time.Second

// Rates are packets per second at the four stages of traffic through a host.
type Rates struct{ Admitted, Delivered, Answered, Transmitted float64 }

func (r Rates) plus(o Rates) Rates {
	return Rates{r.Admitted + o.Admitted, r.Delivered + o.Delivered, r.Answered + o.Answered,
		r.Transmitted + o.Transmitted}
}

// Tracker computes rates from the counters in successive reports of hosts. The times are those in the reports, so that
// the clocks of node and screen need not agree.
type Tracker struct{ hosts map[string]*window }

type report struct {
	at     time.Time
	counts [4]int64
}

// window holds the reports between which a rate is computed.
type window struct {
	uid         string
	first, last report
}

// Observe takes the hosts as they are now and returns the rates of those that reported twice.
func (t *Tracker) Observe(hosts []v1alpha1.LoadBalancingHost) map[string]Rates {
	next := make(map[string]*window, len(hosts))
	rates := map[string]Rates{}
	for i := range hosts {
		h := &hosts[i]
		latest, ok := reportOf(h)
		if !ok {
			continue
		}
		w := t.hosts[h.Name]
		if w == nil || w.uid != string(h.UID) {
			w = &window{uid: string(h.UID), first: latest, last: latest}
		}
		w.take(latest)
		next[h.Name] = w
		if r, ok := w.rates(); ok {
			rates[h.Name] = r
		}
	}
	t.hosts = next
	return rates
}

func reportOf(h *v1alpha1.LoadBalancingHost) (report, bool) {
	s := &h.Status
	if s.RenewTime == nil {
		return report{}, false
	}
	r := report{at: s.RenewTime.Time}
	for i, p := range []*int64{s.Traffic.Admitted, s.Traffic.Delivered, s.Traffic.Answered, s.Traffic.Transmitted} {
		if p == nil {
			return report{}, false
		}
		r.counts[i] = *p
	}
	return r, true
}

func (w *window) take(latest report) {
	if !latest.at.After(w.last.at) {
		return
	}
	for i, n := range latest.counts {
		if n < w.last.counts[i] { // the filter was loaded anew
			w.first, w.last = latest, latest
			return
		}
	}
	if w.last.at.Sub(w.first.at) >= minRateWindow {
		w.first = w.last
	}
	w.last = latest
}

func (w *window) rates() (Rates, bool) {
	elapsed := w.last.at.Sub(w.first.at)
	if elapsed < minRateWindow {
		return Rates{}, false
	}
	per := func(i int) float64 { return float64(w.last.counts[i]-w.first.counts[i]) / elapsed.Seconds() }
	return Rates{per(0), per(1), per(2), per(3)}, true
}
