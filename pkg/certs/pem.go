package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// certificateBlock is the PEM label of a certificate.
const certificateBlock = "CERTIFICATE"

// errNoCertificate is a text without a single certificate block.
var errNoCertificate = errors.New("no CERTIFICATE block in PEM data")

// ParsePEM returns the certificates of a PEM text in their order, which puts the
// leaf first. Other blocks, such as keys, and text between blocks are skipped. It
// is an error when there is no certificate, or one that cannot be parsed: a chain
// with a hole must not pass for a shorter chain.
func ParsePEM(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != certificateBlock {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate %d of PEM data: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errNoCertificate
	}
	return out, nil
}

// EncodePEM writes certificates one after the other, as [ParsePEM] reads them.
func EncodePEM(chain ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range chain {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw}))
	}
	return out.Bytes()
}
