// Command container stands in for an API server in a Docker container: it serves TLS with the
// pair of its flags, which it reads at its start, and answers health requests. Any other name
// than kube-apiserver makes it wait for SIGTERM.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// onlyFile holds the hash of the one certificate that the stand-in accepts, as the test wants.
	onlyFile = "/etc/kubernetes/only"
	// holdFile keeps the stand-in from listening.
	holdFile = "/etc/kubernetes/hold"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if filepath.Base(os.Args[0]) == "kube-apiserver" {
		go func() {
			fmt.Fprintln(os.Stderr, "error:", serveAPI(os.Args[1:]))
			os.Exit(1)
		}()
	}
	<-stop
}

// serveAPI serves until it fails.
func serveAPI(args []string) error {
	flags := flag.NewFlagSet("kube-apiserver", flag.ExitOnError)
	certificate := flags.String("tls-cert-file", "", "")
	key := flags.String("tls-private-key-file", "", "")
	flags.String("client-ca-file", "", "")
	_ = flags.Parse(args)
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		return err
	}
	hash := fmt.Sprintf("%x", sha256.Sum256(pair.Certificate[0]))
	if only, err := os.ReadFile(onlyFile); err == nil && strings.TrimSpace(string(only)) != hash {
		return fmt.Errorf("certificate %s is refused", hash)
	}
	for _, err := os.Stat(holdFile); err == nil; _, err = os.Stat(holdFile) {
		time.Sleep(20 * time.Millisecond)
	}
	server := &http.Server{
		Addr: "127.0.0.1:6443", ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/certificate" {
				_, _ = fmt.Fprint(w, hash)
			}
		}),
	}
	return server.ListenAndServeTLS("", "")
}
