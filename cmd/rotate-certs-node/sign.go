package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func (p *program) signCommand() *cobra.Command {
	var rotation string
	cmd := &cobra.Command{
		Use:   nodeapi.CommandSign + " --rotation ID",
		Short: "Read a request of another node as JSON on standard input, check it, and sign it with the key of a CA on this node",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r nodeapi.SignRequest
			if err := readJSON(cmd.InOrStdin(), "request", &r); err != nil {
				return err
			}
			chain, err := p.signForNode(cmd.Context(), rotation, r)
			if err != nil {
				return err
			}
			return p.printJSON(nodeapi.SignAnswer{PEM: string(certs.EncodePEM(chain...))})
		},
	}
	addRotation(cmd, &rotation)
	return cmd
}

// signForNode signs a request of another node. The signature is recorded before the certificate
// is handed out.
func (p *program) signForNode(ctx context.Context, rotation string, r nodeapi.SignRequest) ([]*x509.Certificate, error) {
	now := time.Now()
	chain, err := issue.SignForNode(ctx, p.hostRoot(), r, now)
	if err != nil {
		return nil, err
	}
	old, err := certs.ParsePEM([]byte(r.CSR.Chain))
	if err != nil {
		return nil, fmt.Errorf("read the old certificate: %w", err)
	}
	list, err := openRotation(p.hostRoot(), rotation)
	if err != nil {
		return nil, err
	}
	facts := certs.DescribeCertificate(chain[0])
	return chain, list.RecordSignature(nodeapi.Signature{
		Time: now.UTC(), Node: r.Node, TargetID: r.CSR.TargetID, Authority: r.CSR.Authority, Subject: facts.Subject,
		Old: certs.Fingerprint(old[0]), New: facts.FingerprintSHA256, SerialNumber: facts.SerialNumber, NotAfter: facts.NotAfter,
	})
}

// readJSON reads one value from standard input.
func readJSON(from io.Reader, what string, into any) error {
	data, err := io.ReadAll(io.LimitReader(from, hostfs.MaxFile+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if len(data) > hostfs.MaxFile {
		return fmt.Errorf("read %s: %w", what, hostfs.ErrTooLarge)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}
