package kube

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// OwnCertificate describes the client certificate with which a configuration
// authenticates; nil where it uses something else: a token, an exec plugin.
func OwnCertificate(config *rest.Config) (*certs.Facts, error) {
	data := config.CertData
	if len(data) == 0 {
		if config.CertFile == "" {
			return nil, nil
		}
		var err error
		if data, err = os.ReadFile(config.CertFile); err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
	}
	chain, err := certs.ParsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("read the client certificate: %w", err)
	}
	facts := certs.DescribeCertificate(chain[0])
	return &facts, nil
}
