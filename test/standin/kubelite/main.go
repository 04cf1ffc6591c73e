// Command kubelite stands in for kubelite of MicroK8s, whose one process is all components, and
// for "microk8s refresh-certs", by the name that it is started with. The command behaves as that
// of MicroK8s: it copies the certificates, signs one again for its old key, and restarts the unit.
package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

const (
	dataDir = "/var/snap/microk8s/current"
	unit    = "snap.microk8s.daemon-kubelite.service"
	// Files by which the test controls the command: it fails, or it waits for the second.
	failFile     = "/out/fail"
	holdFile     = "/out/hold"
	continueFile = "/out/continue"
)

// authorities are the CAs of the certificates that the command signs again.
var authorities = map[string]string{"--cert=server.crt": "ca", "--cert=front-proxy-client.crt": "front-proxy-ca"}

func main() {
	var err error
	switch {
	case filepath.Base(os.Args[0]) == "kubelite":
		err = serveComponents()
	case len(os.Args) == 3 && os.Args[1] == "refresh-certs" && authorities[os.Args[2]] != "":
		err = refreshCertificate(os.Args[2])
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(20)
	}
}

// serveComponents answers requests for the health of all components. The API server and the
// kubelet serve their certificates.
func serveComponents() error {
	failed := make(chan error)
	for address, pair := range map[string]string{":16443": "server", ":10250": "kubelet", "127.0.0.1:10257": "server", "127.0.0.1:10259": "server", "127.0.0.1:10248": "", "127.0.0.1:10256": ""} {
		server := &http.Server{Addr: address, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(answerRequest), TLSConfig: &tls.Config{ClientAuth: tls.RequestClientCert}}
		go func() {
			if pair == "" {
				failed <- server.ListenAndServe()
				return
			}
			failed <- server.ListenAndServeTLS(inCerts(pair+".crt"), inCerts(pair+".key"))
		}()
	}
	return <-failed
}

// answerRequest answers that a component is healthy, and a front proxy's request for the user that
// it names.
func answerRequest(w http.ResponseWriter, r *http.Request) {
	if path.Base(r.URL.Path) != "selfsubjectreviews" {
		_, _ = fmt.Fprint(w, "ok")
		return
	}
	ca, err := os.ReadFile(inCerts("front-proxy-ca.crt"))
	trusted := x509.NewCertPool()
	if err == nil && trusted.AppendCertsFromPEM(ca) && len(r.TLS.PeerCertificates) > 0 {
		_, err = r.TLS.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: trusted, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	} else {
		err = errors.Join(err, errors.New("no client certificate"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	review := authenticationv1.SelfSubjectReview{}
	review.APIVersion = "authentication.k8s.io/v1"
	review.Kind = "SelfSubjectReview"
	review.Status.UserInfo.Username = r.Header.Get("X-Remote-User")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(review) // the client sees what is missing
}

func inCerts(file string) string { return filepath.Join(dataDir, "certs", file) }

// refreshCertificate is "refresh-certs" with one option.
func refreshCertificate(option string) error {
	if _, err := os.Stat(failFile); err == nil {
		return errors.New("it fails as the test wants")
	}
	for _, err := os.Stat(holdFile); err == nil; _, err = os.Stat(holdFile) {
		if _, err := os.Stat(continueFile); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	backup := filepath.Join(dataDir, "certs-backup")
	if err := os.MkdirAll(backup, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-r", filepath.Join(dataDir, "certs"), backup).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := signAgain(option[len("--cert="):], authorities[option]); err != nil {
		return err
	}
	for _, verb := range []string{"stop", "start"} { // as snapd restarts a unit
		if out, err := exec.Command("systemctl", verb, unit).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", verb, unit, err, out)
		}
	}
	return nil
}

// signAgain replaces a certificate by one for the same key, with the same subject and names.
func signAgain(file, authority string) error {
	signer, err := tls.LoadX509KeyPair(inCerts(authority+".crt"), inCerts(authority+".key"))
	if err != nil {
		return err
	}
	place := inCerts(file)
	data, err := os.ReadFile(place)
	if err != nil {
		return err
	}
	chain, err := certs.ParsePEM(data)
	if err != nil {
		return err
	}
	old := chain[0]
	if err := os.Remove(place); err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject: old.Subject, NotBefore: time.Now(), NotAfter: time.Now().AddDate(0, 0, 365), KeyUsage: old.KeyUsage,
		ExtKeyUsage: old.ExtKeyUsage, DNSNames: old.DNSNames, IPAddresses: old.IPAddresses,
	}
	leaf, err := certs.SignTemplate(template, old.PublicKey, signer.Leaf, signer.PrivateKey.(crypto.Signer))
	if err != nil {
		return err
	}
	return os.WriteFile(place, certs.EncodePEM(leaf), 0o600)
}
