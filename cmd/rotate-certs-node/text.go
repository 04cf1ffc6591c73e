package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// output is the flag -o: "json", "text", or empty for text on a terminal and JSON elsewhere.
type output string

func (o *output) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP((*string)(o), "output", "o", "", "json (one record a line) or text (default: text on a terminal, else json)")
}

// recordWriter returns the writer for a rotation's records.
func (o output) recordWriter(w io.Writer) (io.Writer, error) {
	switch f, isFile := w.(*os.File); {
	case o == "text", o == "" && isFile && term.IsTerminal(int(f.Fd())):
		return &recordText{w: w}, nil
	case o == "json", o == "":
		return &lockedWriter{w: w}, nil
	default:
		return nil, fmt.Errorf("--output %q: want json or text", string(o))
	}
}

// recordText writes records, which it gets as lines of JSON, as text.
type recordText struct{ w io.Writer }

// Write implements [io.Writer]. Records come one by one.
func (w *recordText) Write(line []byte) (int, error) {
	var rec nodeapi.Record
	if err := json.Unmarshal(line, &rec); err != nil {
		return 0, fmt.Errorf("print record: %w", err)
	}
	if text := describeRecord(rec); text != "" {
		if _, err := fmt.Fprintf(w.w, "%s  %s\n", rec.Time.Local().Format(time.TimeOnly), text); err != nil {
			return 0, err
		}
	}
	return len(line), nil
}

// describeRecord describes a record in one line, or in several if it ends a rotation.
func describeRecord(rec nodeapi.Record) string {
	switch rec.Kind {
	case nodeapi.Staging:
		if rec.Message != "" {
			return fmt.Sprintf("checking %s: %s", joinServices(rec.Services), rec.Message)
		}
		return "signing new certificates for " + joinServices(rec.Services)
	case nodeapi.CSRPosted:
		return "waiting for a signature of CertificateSigningRequest " + rec.CSR.Name
	case nodeapi.Staged:
		if rec.Message != "" {
			return rec.Message
		}
		return fmt.Sprintf("signed %d certificates; nothing is changed yet", len(rec.Renewals))
	case nodeapi.Committing:
		return withService("replacing files", rec.Message)
	case nodeapi.Replaced:
		return withService("files are replaced", rec.Message)
	case nodeapi.Restarting:
		return withService("restarting "+string(rec.Service), rec.Message)
	case nodeapi.Restarted:
		return fmt.Sprintf("%s runs again; it was unavailable for %.1f s", rec.Service, rec.UnavailableSeconds)
	case nodeapi.Waiting:
		return rec.Message
	case nodeapi.Verified:
		return "verified: " + rec.Evidence.Detail
	case nodeapi.RollingBack:
		return withService("ROLLING BACK", rec.Message)
	case nodeapi.Abandoned:
		return withService("ended", rec.Message)
	default:
		return describeAnswer(rec)
	}
}

// describeAnswer describes the answer to an order. The program's error adds the reason and the
// next step.
func describeAnswer(rec nodeapi.Record) string {
	switch {
	case rec.Kind == nodeapi.Committed && rec.Unverified:
		return "NOT VERIFIED: the new certificates are in place"
	case rec.Kind == nodeapi.Committed:
		return fmt.Sprintf("RENEWED: %d certificates are in use and verified", len(rec.Renewals))
	case rec.Kind == nodeapi.Finished:
		kept := "; the replaced files are kept on this node"
		if rec.Message != "" {
			kept = "; " + rec.Message
		}
		return fmt.Sprintf("finished rotation %s%s\nNext: the other nodes, one after the other", rec.Rotation, kept)
	case rec.Kind == nodeapi.RolledBack && rec.Unverified:
		return withService("ROLLED BACK, not verified yet", rec.Message)
	case rec.Kind == nodeapi.RolledBack:
		return withService("ROLLED BACK", rec.Message)
	case rec.Kind == nodeapi.Unknown:
		return "UNKNOWN: neither old nor new certificates could be verified"
	case rec.Kind == nodeapi.Failed, rec.Kind == nodeapi.Refused:
		return "FAILED: nothing was changed"
	default:
		return string(rec.Kind)
	}
}

func withService(text, message string) string {
	if message == "" {
		return text
	}
	return text + ": " + message
}

func joinServices(services []certs.Service) string {
	out := make([]string, 0, len(services))
	for _, s := range services {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}

// validity is a flag that accepts days as well: "90d".
type validity time.Duration

func (v *validity) Set(s string) error {
	d, err := certs.ParseDuration(s)
	if err != nil {
		return err
	}
	*v = validity(d)
	return nil
}

func (v *validity) String() string {
	if *v == 0 {
		return ""
	}
	return certs.FormatDuration(time.Duration(*v))
}

func (*validity) Type() string { return "duration" }
