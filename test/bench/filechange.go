package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
)

// replaced is how often a certificate's file is replaced on a node.
const replaced = 10

// events is where the watcher's are read, through the API server.
const events = "/api/v1/namespaces/" + namespace + "/services/rotate-certs-watcher:http/proxy/events"

// victim is a certificate that an API server shows to kubelets, and reloads without a restart
// when it changes.
const victim = "/etc/kubernetes/pki/apiserver-kubelet-client.crt"

// measureFileChanges puts certificates in place of others on the control-plane nodes in
// turn, and returns how long after the file is there a reader of /events has the event.
func (l *lab) measureFileChanges(ctx context.Context, api kubernetes.Interface) ([]time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := api.CoreV1().RESTClient().Get().AbsPath(events).Param("since", "0s").Param("follow", "true").Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("follow the events: %w", err)
	}
	defer stream.Close()
	renewed := make(chan renewal, replaced)
	go func() {
		defer close(renewed)
		for scanner := bufio.NewScanner(stream); scanner.Scan(); {
			var e struct {
				Type string
				Data struct{ FingerprintSHA256 string }
			}
			if json.Unmarshal(scanner.Bytes(), &e) == nil && strings.Contains(e.Type, "certificate.renewed") {
				renewed <- renewal{e.Data.FingerprintSHA256, time.Now()}
			}
		}
	}()
	var took []time.Duration
	for i := range replaced {
		node := l.controlPlanes()[i%len(l.controlPlanes())].Name
		fingerprint, at, err := l.replace(ctx, node)
		if err != nil {
			return nil, err
		}
		receivedAt, err := await(ctx, renewed, fingerprint)
		if err != nil {
			return nil, fmt.Errorf("certificate %d, on node %q: %w", i+1, node, err)
		}
		took = append(took, receivedAt.Sub(at))
		if err := pause(ctx, 700*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// renewal is an event that was received.
type renewal struct {
	fingerprint string
	at          time.Time
}

func await(ctx context.Context, received <-chan renewal, fingerprint string) (time.Time, error) {
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-limit.C:
			return time.Time{}, errors.New("its event does not come")
		case r, ok := <-received:
			switch {
			case !ok:
				return time.Time{}, errors.New("the events have ended")
			case r.fingerprint == fingerprint:
				return r.at, nil
			}
		}
	}
}

// replace puts a new certificate in place, by the same CA for the same key. It returns its
// fingerprint, and when that was: the machine has one clock.
func (l *lab) replace(ctx context.Context, node string) (string, time.Time, error) {
	files, err := l.on(ctx, node, "cat "+victim+" /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key", nil)
	if err != nil {
		return "", time.Time{}, err
	}
	der, err := successor([]byte(files))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a certificate: %w", err)
	}
	out, err := l.on(ctx, node, fmt.Sprintf("cp -p %[1]s %[1]s.new && cat >%[1]s.new && date +%%s%%N && mv %[1]s.new %[1]s", victim),
		bytes.NewReader(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if err != nil {
		return "", time.Time{}, err
	}
	nanoseconds, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("unexpected output %q", out)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), time.Unix(0, nanoseconds), nil
}

// successor is the first certificate of the files with another serial number, signed with
// the key that they end with.
func successor(files []byte) ([]byte, error) {
	var chain []*x509.Certificate
	for {
		block, rest := pem.Decode(files)
		if block == nil {
			return nil, errors.New("no key was found")
		}
		files = rest
		if block.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, err
			}
			chain = append(chain, c)
			continue
		}
		key, err := privateKey(block)
		if err != nil {
			return nil, err
		}
		template := *chain[0]
		if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
			return nil, err
		}
		template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm // the key decides
		return x509.CreateCertificate(rand.Reader, &template, chain[len(chain)-1], chain[0].PublicKey, key)
	}
}

func privateKey(block *pem.Block) (crypto.PrivateKey, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}
