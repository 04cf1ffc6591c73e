package plugin

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// contextCluster is the cluster of one context, as the commands know it.
type contextCluster struct {
	app    *app // prints nothing
	shown  *app // the command itself, which names the nodes in progress
	flags  *connectionFlags
	conn   connection
	name   string
	ending *endings
}

// explainError adds the hints that a command prints with an error.
func explainError(err error, flags *connectionFlags) error {
	if err == nil {
		return nil
	}
	return &explainedError{cause: err, shown: explainCause(err, flags.recoverHint)}
}

// journalReader are the options of a command that reads the journals of all nodes.
func (d *contextCluster) journalReader() *reader {
	return &reader{app: d.app, connectionFlags: d.flags, format: printers.JSON, conn: d.conn}
}

// Scan lists every certificate, as check does.
func (d *contextCluster) Scan(ctx context.Context) (v1alpha1.CertificateList, error) {
	o := &checkOptions{app: d.app, connectionFlags: d.flags, format: printers.JSON, conn: d.conn}
	c, disconnect, err := o.connectNodes(ctx, &o.transportFlags, o.connectionFlags, o.conn)
	if err != nil {
		return v1alpha1.CertificateList{}, explainError(err, d.flags)
	}
	defer disconnect()
	found, err := o.listCertificates(ctx, c)
	if err == nil {
		err = found.unknown
	}
	return found.list, explainError(err, d.flags)
}

// Rotations lists the rotations in the journals, as history does.
func (d *contextCluster) Rotations(ctx context.Context) (v1alpha1.RotationList, error) {
	list, err := d.journalReader().listRotations(ctx)
	return list, explainError(err, d.flags)
}

// Records reads every record of one rotation, as history ID does.
func (d *contextCluster) Records(ctx context.Context, id string) (v1alpha1.RotationHistory, error) {
	history, err := d.journalReader().readRecords(ctx, id)
	return history, explainError(err, d.flags)
}

// MarkCompromised creates a CompromisedCertificate, as mark-compromised does.
func (d *contextCluster) MarkCompromised(ctx context.Context, m dashboard.Mark) error {
	return explainError(d.createMark(ctx, m), d.flags)
}

func (d *contextCluster) createMark(ctx context.Context, m dashboard.Mark) error {
	o := &markCompromisedOptions{app: d.app, installFlags: installFlags{connectionFlags: d.flags},
		service: string(m.Service), reason: m.Reason, dryRun: string(dryRunNone), conn: d.conn}
	if err := o.completeSpec(); err != nil {
		return err
	}
	o.spec.Nodes = trimmedList(m.Nodes)
	if m.Fingerprint != "" {
		var err error
		if o.spec.Fingerprint, err = parseFingerprint(m.Fingerprint); err != nil {
			return err
		}
	}
	api, err := openObjects(d.conn)
	if err != nil {
		return err
	}
	_, _, err = o.markCertificates(ctx, api)
	return err
}

// DeleteMark deletes a CompromisedCertificate.
func (d *contextCluster) DeleteMark(ctx context.Context, name string) error {
	api, err := openObjects(d.conn)
	if err != nil {
		return explainError(err, d.flags)
	}
	err = api.resourceOf(compromisedResource, "").Delete(ctx, name, metav1.DeleteOptions{})
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		err = hint.AddTo(fmt.Errorf("delete CompromisedCertificate %q: %w", name, err),
			"an administrator can bind the ClusterRole rotate-certs:incident-responder to you")
	default:
		err = fmt.Errorf("delete CompromisedCertificate %q: %w", name, err)
	}
	return explainError(err, d.flags)
}
