# The table, the bucket, its lifecycle and the roles. `terraform apply -var name=my-embeddings`
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "name" {
  type        = string
  description = "Name of the table and of the bucket"
}

variable "kms_key_arn" {
  type        = string
  default     = null
  description = "A KMS key for the bucket and the table; without one AWS's own keys are used"
}

variable "trusted_services" {
  type    = list(string)
  default = ["ecs-tasks.amazonaws.com"]
}

data "aws_caller_identity" "own" {}
data "aws_region" "own" {}

resource "aws_dynamodb_table" "ledger" {
  name         = var.name
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "PK"
  range_key    = "SK"

  attribute {
    name = "PK"
    type = "S"
  }
  attribute {
    name = "SK"
    type = "S"
  }
  attribute {
    name = "GSI1PK"
    type = "S"
  }
  attribute {
    name = "GSI1SK"
    type = "S"
  }
  global_secondary_index {
    name            = "GSI1"
    hash_key        = "GSI1PK"
    range_key       = "GSI1SK"
    projection_type = "ALL"
  }
  point_in_time_recovery {
    enabled = true
  }
  server_side_encryption {
    enabled     = var.kms_key_arn != null
    kms_key_arn = var.kms_key_arn
  }
}

resource "aws_s3_bucket" "snapshots" {
  bucket = var.name
}

resource "aws_s3_bucket_public_access_block" "snapshots" {
  bucket                  = aws_s3_bucket.snapshots.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "snapshots" {
  bucket = aws_s3_bucket.snapshots.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

# Versions are swept by `snapshots gc`, never by age: a lifecycle cannot know what is published.
resource "aws_s3_bucket_lifecycle_configuration" "snapshots" {
  bucket = aws_s3_bucket.snapshots.id
  rule {
    id     = "uploads-that-broke-off"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
  rule {
    id     = "dagster"
    status = "Enabled"
    filter {
      prefix = "dagster/"
    }
    expiration {
      days = 30
    }
  }
}

resource "aws_s3_bucket_policy" "tls" {
  bucket = aws_s3_bucket.snapshots.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.snapshots.arn, "${aws_s3_bucket.snapshots.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

locals {
  roles = toset(["submitter", "worker", "reader"])
  policies = {
    for role in local.roles : role => replace(replace(replace(
      file("${path.module}/../policies/${role}.json"),
      "my-embeddings", var.name),
      "REGION", data.aws_region.own.name),
      "ACCOUNT", data.aws_caller_identity.own.account_id)
  }
}

resource "aws_iam_role" "role" {
  for_each = local.roles
  name     = "${var.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = var.trusted_services }
    }]
  })
}

resource "aws_iam_role_policy" "role" {
  for_each = local.roles
  role     = aws_iam_role.role[each.key].id
  policy   = local.policies[each.key]
}

output "role_arns" {
  value = { for role in local.roles : role => aws_iam_role.role[role].arn }
}
