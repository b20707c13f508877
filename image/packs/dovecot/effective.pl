# Prints what Dovecot makes of its configuration: effective.pl. 2.3 and 2.4 have few words in common; what counts for who gets in, and where
# mail lies, is told in words that both can be asked for. What nobody has set has a tilde.
use strict;
use warnings;

sub listing {
	my ($option) = @_;
	open(my $from, '-|', '/usr/bin/doveconf', $option) or die "doveconf: $!\n";
	my (@in, @order, %said);
	while (my $line = <$from>) {
		chomp $line;
		$line =~ s/^\s+|\s+$//g;
		next if $line eq '' || $line =~ /^#/;
		if ($line eq '}') { pop @in; next }
		if ($line =~ /^(.*\S)\s*\{$/) { push @in, $1; push @order, join('/', @in) . '/'; next } # a block may have nothing in it
		my ($name, $value) = $line =~ /^(\S+) =\s*(.*)$/ or next;
		$value = '' if $value =~ /^# hidden/;
		$value =~ s/^"(.*)"$/$1/;
		my $key = join('/', @in, $name);
		my $n = 2;
		if (exists $said{$key}) { $n++ while exists $said{"$key $n"}; $key = "$key $n" }
		push @order, $key;
		$said{$key} = $value;
	}
	close($from) or exit 1;
	return (\@order, \%said);
}

my ($order, $all) = listing('-a');
my ($changed, $mine) = listing('-n');
my $new = exists $all->{auth_allow_cleartext};
my %out;

sub say_it { my ($name, $value, @from) = @_; $out{$name} = ((grep { exists $mine->{$_} } @from) ? '' : '~') . "$name = $value" }
sub get { my $v = $all->{$_[0]}; return defined $v ? $v : '' }

# Passwords in the clear.
if ($new) { say_it('disable_plaintext_auth', get('auth_allow_cleartext') eq 'yes' ? 'no' : 'yes', 'auth_allow_cleartext') }
else { say_it('disable_plaintext_auth', get('disable_plaintext_auth'), 'disable_plaintext_auth') }
say_it('ssl', get('ssl'), 'ssl');
$out{disable_plaintext_auth} = 'disable_plaintext_auth = yes' if get('ssl') eq 'required'; # every password is encrypted anyway
say_it('ssl_min_protocol', get('ssl_min_protocol'), 'ssl_min_protocol');

# Variables have other names.
sub variables {
	my $s = shift;
	$s =~ s/%\{user\s*\|\s*username\s*\|\s*lower\}/%Ln/g; $s =~ s/%\{user\s*\|\s*lower\}/%Lu/g; $s =~ s/%\{user\s*\|\s*username\}/%n/g;
	$s =~ s/%\{user\s*\|\s*domain\s*\|\s*lower\}/%Ld/g; $s =~ s/%\{user\s*\|\s*domain\}/%d/g; $s =~ s/%\{user\}/%u/g; $s =~ s/%\{home\}/%h/g;
	return $s;
}
say_it($_, variables(get($_)), $_) for qw(auth_username_format auth_mechanisms auth_username_chars auth_realms auth_default_realm first_valid_uid last_valid_uid first_valid_gid
	mail_max_userip_connections valid_chroot_dirs login_trusted_networks mail_privileged_group mail_access_groups mail_full_filesystem_access lmtp_save_to_detail_mailbox
	recipient_delimiter auth_failure_delay);
$out{auth_mechanisms} =~ s/= (.*)/'= ' . join(' ', sort split ' ', $1)/e;

my $protocols = $new ? join(' ', map { m{^protocols/(.*)$} && ($all->{$_} // '') eq 'yes' ? $1 : () } @$order) : get('protocols');
$protocols = get('protocols') if $protocols eq ''; # 2.4 tells a list as it was written
say_it('protocols', join(' ', sort split ' ', $protocols), $new ? (grep { m{^protocols/} } keys %$mine) : 'protocols');

# Where mail lies: driver:path:INBOX=path.
my $where = get('mail_location');
if ($new) {
	$where = variables(get('mail_driver') . ':' . get('mail_path') . (get('mail_inbox_path') ne '' && get('mail_inbox_path') ne get('mail_path') ? ':INBOX=' . get('mail_inbox_path') : ''));
	say_it('mail_location', $where, 'mail_driver', 'mail_path', 'mail_inbox_path');
} else {
	say_it('mail_location', $where, 'mail_location');
}
$out{mail_location} =~ s{~/}{%h/}g;

# Who is asked for passwords and accounts, in order.
for my $kind (qw(passdb userdb)) {
	my @list;
	if ($new) { my %seen; for (@$order) { push @list, $1 if m{^$kind ([^/\s]+)/} && !$seen{$1}++ } }
	else { @list = map { m{^$kind/driver} ? $all->{$_} : () } grep { exists $all->{$_} } @$order }
	if ($new) { @list = map { $all->{"$kind $_/driver"} // $_ } @list }
	say_it($kind, join(' ', @list), grep { /^$kind/ } keys %$mine);
}
print "$out{$_}\n" for sort keys %out;
