package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const tokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// result is what probe prints at the end.
type result struct {
	URL        string    `json:"url"`
	KeepAlive  bool      `json:"keepAlive"`
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"`
	Requests   int       `json:"requests"`
	Succeeded  int       `json:"succeeded"`
	Failed     int       `json:"failed"`
	SlowestMS  int64     `json:"slowestMilliseconds"`
	Failures   []failure `json:"failures,omitempty"` // the first hundred
	LongestGap string    `json:"longestGap"`         // between two successes
}

// failure is one request that did not bring an answer below 400.
type failure struct {
	Time         time.Time `json:"time"`
	Milliseconds int64     `json:"milliseconds"`
	Error        string    `json:"error"`
}

// probe sends requests at a fixed rate, none of them repeated, each without
// waiting for the one before, until its time is over or it is signalled to stop.
func probe(ctx context.Context, args []string) (*result, error) {
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	rate := flags.Int("rate", 20, "requests per second")
	duration := flags.Duration("for", 0, "how long, 0: until SIGTERM")
	keepAlive := flags.Bool("keep-alive", false, "keep connections instead of opening one for every request")
	token := flags.Bool("token", false, "send the pod's service account token")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() != 1 || *rate < 1 {
		return nil, fmt.Errorf("probe needs one URL and a rate of at least 1")
	}
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	p := prober{client: newClient(*keepAlive), token: *token}
	p.result = result{URL: flags.Arg(0), KeepAlive: *keepAlive, Start: time.Now()}
	p.lastSuccess = p.result.Start
	ticker := time.NewTicker(time.Second / time.Duration(*rate))
	defer ticker.Stop()
	var running sync.WaitGroup
	for {
		select {
		case <-ctx.Done():
			running.Wait()
			p.result.End = time.Now()
			p.result.LongestGap = p.longestGap.String()
			return &p.result, nil
		case <-ticker.C:
			running.Go(p.request)
		}
	}
}

type prober struct {
	client      *http.Client
	token       bool
	mu          sync.Mutex // guards what follows
	result      result
	lastSuccess time.Time
	longestGap  time.Duration
}

func (p *prober) request() {
	start := time.Now()
	err := p.ask()
	end := time.Now()
	elapsed := end.Sub(start).Milliseconds()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.Requests++
	p.result.SlowestMS = max(p.result.SlowestMS, elapsed)
	if err == nil {
		p.result.Succeeded++
		p.longestGap = max(p.longestGap, end.Sub(p.lastSuccess))
		p.lastSuccess = end
		return
	}
	p.result.Failed++
	if len(p.result.Failures) < 100 {
		p.result.Failures = append(p.result.Failures, failure{Time: start, Milliseconds: elapsed, Error: err.Error()})
	}
}

func (p *prober) ask() error {
	request, err := http.NewRequest(http.MethodGet, p.result.URL, nil)
	if err != nil {
		return err
	}
	if p.token {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode >= 400 {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// newClient returns a client that trusts any certificate: tests that care
// about certificates inspect them from outside.
func newClient(keepAlive bool) *http.Client {
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: !keepAlive,
			// A client that speaks HTTP/2 uses one connection for all.
			ForceAttemptHTTP2: keepAlive,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		},
	}
}
