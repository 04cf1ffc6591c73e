package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// patience is how long a client waits for an answer.
const patience = 10 * time.Second

// question is what clients ask for: an object, which an API server reads from etcd.
// /version would not do: a server whose etcd is unavailable still answers it.
const question = "/api/v1/namespaces/default"

// asker asks one server at a fixed rate, without retries.
type asker struct {
	where   string // "cp1", "load balancer"
	address string
	keep    bool // connections; HTTP/2, as every client of Kubernetes' own library
	rate    int  // requests a second

	mu      sync.Mutex
	answers []answer
}

type answer struct {
	asked, answered time.Time
	failure         string // empty: 200
}

// askers are clients of every API server, and of all of them through the load balancer.
func (l *lab) askers() []*asker {
	var out []*asker
	add := func(where, address string) {
		out = append(out, &asker{where: where, address: address, rate: l.rate}, &asker{where: where, address: address, rate: l.rate, keep: true})
	}
	for _, n := range l.controlPlanes() {
		add(n.Name, n.IP+":6443")
	}
	if len(l.controlPlanes()) > 1 {
		add(balancer, "api.lab.test:6443")
	}
	return out
}

const balancer = "load balancer"

// ask asks until ctx ends; what is under way then is brought to its end.
func (a *asker) ask(ctx context.Context, identity *tls.Config) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: !a.keep, ForceAttemptHTTP2: a.keep, TLSClientConfig: identity.Clone(),
	}}
	tick := time.NewTicker(time.Second / time.Duration(a.rate))
	defer tick.Stop()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			open.Go(func() { a.once(client) })
		}
	}
}

func (a *asker) once(client *http.Client) {
	one := answer{asked: time.Now()}
	response, err := client.Get("https://" + a.address + question)
	switch {
	case err != nil:
		one.failure = err.Error()
	case response.StatusCode != http.StatusOK:
		body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		one.failure = response.Status + ": " + strings.TrimSpace(string(body))
	default:
		_, _ = io.Copy(io.Discard, response.Body)
	}
	if err == nil {
		_ = response.Body.Close()
	}
	one.answered = time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers = append(a.answers, one)
}

// experience is what a client saw.
type experience struct {
	where    string
	keep     bool
	asked    int
	failed   int
	slowest  time.Duration
	gap      time.Duration // the longest between two successes
	down     time.Duration // in all, each from the first failed question to the next that did not fail
	failures []string
}

func (a *asker) experience() experience {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := experience{where: a.where, keep: a.keep, asked: len(a.answers)}
	slices.SortFunc(a.answers, func(x, y answer) int { return x.asked.Compare(y.asked) })
	var downSince time.Time
	var good []time.Time
	for _, one := range a.answers {
		e.slowest = max(e.slowest, one.answered.Sub(one.asked))
		switch {
		case one.failure != "":
			e.failed++
			e.failures = append(e.failures, fmt.Sprintf("%s %s", one.asked.UTC().Format("15:04:05.000"), one.failure))
			if downSince.IsZero() {
				downSince = one.asked
			}
		default:
			good = append(good, one.answered)
			if !downSince.IsZero() {
				e.down += one.asked.Sub(downSince)
				downSince = time.Time{}
			}
		}
	}
	slices.SortFunc(good, time.Time.Compare)
	for i := 1; i < len(good); i++ {
		e.gap = max(e.gap, good[i].Sub(good[i-1]))
	}
	return e
}
