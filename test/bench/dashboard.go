package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"runtime"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
)

const (
	shownCertificates = 10000
	pageLoads         = 20
	slowReaders       = 200 // request a page and read none of it
)

// largeCluster is the only cluster of a dashboard. It is in memory, so that what is measured is the
// dashboard; no method but State is called.
type largeCluster struct {
	dashboard.Cluster
	certificates v1alpha1.CertificateList
}

func newLargeCluster() *largeCluster {
	c := &largeCluster{}
	services := certs.Services()
	for i := range shownCertificates {
		service := services[i%len(services)]
		c.certificates.Items = append(c.certificates.Items, v1alpha1.Certificate{
			Node: fmt.Sprintf("node-%04d", i/10), Service: service, Name: string(service) + "-client", Path: fmt.Sprintf("/etc/kubernetes/pki/%s-%d.crt", service, i%10), Status: certs.OK,
			Facts: certs.Facts{Subject: "CN=" + string(service), Issuer: "CN=kubernetes-ca", SerialNumber: fmt.Sprintf("%016x", i), FingerprintSHA256: fmt.Sprintf("%064x", i),
				KeyAlgorithm: "RSA-2048", NotAfter: time.Now().AddDate(0, 0, i%400)},
		})
	}
	return c
}

// Contexts implements dashboard.Clusters.
func (c *largeCluster) Contexts() []dashboard.Context {
	return []dashboard.Context{{Name: "large", Server: "https://10.0.0.1:6443"}}
}

// Open implements dashboard.Clusters.
func (c *largeCluster) Open(string) (dashboard.Cluster, error) { return c, nil }

// State implements dashboard.Cluster.
func (c *largeCluster) State(context.Context) (dashboard.State, error) {
	return dashboard.State{Version: "v1.37.0", Nodes: shownCertificates / 10, Certificates: &c.certificates, Observed: time.Now()}, nil
}

// measureDashboard measures the page of a large cluster: how long it takes, and what readers cost
// that do not read it.
func measureDashboard(ctx context.Context, w io.Writer) ([]aim, error) {
	server, err := dashboard.NewServer(dashboard.Options{Clusters: newLargeCluster(), Version: "bench"})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ctx, listener) // a page that is not answered shows its error
	}()
	defer func() {
		end()
		<-ended
	}()

	client, page, err := signIn(ctx, server.OpenAddress(listener.Addr()))
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	size := int64(0)
	for range pageLoads {
		began := time.Now()
		if size, err = readPage(ctx, client, page); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	first := took[0]
	before := memoryInUse()
	closeAll, err := openSlowReaders(ctx, client, page)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	grown := max(float64(memoryInUse())-float64(before), 0) / (1 << 20)

	fmt.Fprintf(w, "\nThe dashboard, in memory; machine load %s:\n\n", loadAverage())
	table{
		{"", "measured"},
		{fmt.Sprintf("page of a cluster with %d certificates: size", shownCertificates), fmt.Sprintf("%d KiB", size>>10)},
		{"the first time, which reads the state of the cluster", milliseconds(first)},
		{fmt.Sprintf("median of %d", pageLoads), milliseconds(median(took))},
		{fmt.Sprintf("memory of %d connections that requested the page and do not read it", slowReaders), fmt.Sprintf("%.1f MiB", grown)},
	}.print(w)
	return []aim{
		atMost(fmt.Sprintf("dashboard: page of a cluster with %d certificates, the first time", shownCertificates), float64(first.Microseconds())/1000, 1000, " ms"),
		atMost(fmt.Sprintf("dashboard: memory of %d slow readers", slowReaders), grown, 16, " MiB"),
	}, nil
}

// signIn opens the address with the token, and returns the address of the cluster's page.
func signIn(ctx context.Context, address string) (*http.Client, *url.URL, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, nil, err
	}
	client := &http.Client{Jar: jar}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("sign in to the dashboard: %s", response.Status)
	}
	return client, response.Request.URL.JoinPath("clusters", "large"), nil
}

// readPage reads a page to its end and returns its size.
func readPage(ctx context.Context, client *http.Client, page *url.URL) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page.String(), nil)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	size, err := io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("read the page of a cluster: %s", response.Status)
	}
	return size, err
}

// openSlowReaders opens connections that request the page, and read the first line of the answer: the
// server has then begun to send the rest.
func openSlowReaders(ctx context.Context, client *http.Client, page *url.URL) (closeAll func(), err error) {
	var open []net.Conn
	closeAll = func() {
		for _, c := range open {
			_ = c.Close()
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page.String(), nil)
	if err != nil {
		return closeAll, err
	}
	for _, cookie := range client.Jar.Cookies(page) {
		request.AddCookie(cookie)
	}
	for range slowReaders {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", page.Host)
		if err != nil {
			return closeAll, err
		}
		open = append(open, connection)
		if err := request.Write(connection); err != nil {
			return closeAll, err
		}
		if line, err := bufio.NewReaderSize(connection, 16).ReadSlice('\n'); len(line) == 0 {
			return closeAll, fmt.Errorf("read the answer: %w", err)
		}
	}
	return closeAll, nil
}

// memoryInUse is the memory of all objects and goroutines of this process.
func memoryInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
