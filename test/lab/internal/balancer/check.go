package balancer

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"time"
)

// watch asks one backend for its health again and again. One failure takes it
// out, one success brings it back. The connection is kept: a handshake ten
// times a second would be a load of its own, and an API server that closes its
// listener is noticed through the requests it then gets, and refuses.
func (b *Balancer) watch(ctx context.Context, backend *Backend) {
	client := &http.Client{
		Timeout: checkTimeout,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it is asked for health, not for truth
			// HTTP/1.1, for one request at a time on one connection.
			TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		up, reason := ask(ctx, client, "https://"+backend.Address+"/readyz")
		if ctx.Err() != nil {
			return
		}
		b.set(backend, up, reason)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// ask reports whether a server answers that it is ready. One that requires
// authentication (401) is taken for up; 403 is what an API server answers to
// every client while it starts, before it has its roles.
func ask(ctx context.Context, client *http.Client, url string) (up bool, reason string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err.Error()
	}
	response, err := client.Do(request)
	if err != nil {
		return false, err.Error()
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	switch response.StatusCode {
	case http.StatusOK, http.StatusUnauthorized:
		return true, "readyz says " + response.Status
	}
	return false, "readyz says " + response.Status
}
